-- The rows of the first day that has some, from a day on: one day at a time, as nobody else is served meanwhile.
local day = call('ZRANGEBYSCORE', DAYS, arg[1], '+inf', 'LIMIT', 0, 1)[1]
if not day then
  return {}
end
return {tonumber(day), call('HGETALL', ROWS .. day)}
