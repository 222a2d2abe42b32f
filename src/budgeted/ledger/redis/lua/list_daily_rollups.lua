-- The rows of the first day that has some, from a day on: one day at a time, as nobody else is served meanwhile.
-- With an account, only its own.
local day = call('ZRANGEBYSCORE', DAYS, arg[4], '+inf', 'LIMIT', 0, 1)[1]
if not day then
  return {}
end
if arg[5] then
  local row = call('HGET', ROWS .. day, arg[5])
  return {tonumber(day), row and {arg[5], row} or {}}
end
return {tonumber(day), call('HGETALL', ROWS .. day)}
