-- All of a project, as it is at this instant: accounts, what they spent by model, open holds, uncertain charges, and each
-- day's rows by account. Nobody else is served meanwhile, which takes a second for a million accounts.
local days = {}
for i, day in ipairs(call('ZRANGE', DAYS, 0, -1)) do
  days[2 * i - 1] = tonumber(day)
  days[2 * i] = call('HGETALL', ROWS .. day)
end
return {call('HGETALL', ACCOUNTS), call('HGETALL', MODELS), call('HVALS', HOLDS), call('HVALS', UNCERTAIN), days}
