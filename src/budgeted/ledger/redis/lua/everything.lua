-- All of a project, as it is at this instant: accounts with what they spent by model, open holds, uncertain charges, and
-- each day's rows by account. Nobody else is served meanwhile, which takes a second for a million accounts.
local accounts, days = {}, {}
for i, name in ipairs(call('ZRANGE', NAMES, 0, -1)) do
  accounts[2 * i - 1] = call('HGET', ACCOUNTS, name)
  accounts[2 * i] = call('HGET', MODELS, name)
end
for i, day in ipairs(call('ZRANGE', DAYS, 0, -1)) do
  days[2 * i - 1] = tonumber(day)
  days[2 * i] = call('HGETALL', ROWS .. day)
end
return {accounts, call('HVALS', HOLDS), call('HVALS', UNCERTAIN), days}
