-- Charge the holds of owners whose lease has run out, and those of some that are too old; a few at a time. What is set
-- aside for others' holds is never too old. An owner is forgotten an hour later: a hold that it asked for before it was
-- stopped may come late. How many verbs it had done is known for longer: it may have been stopped, or this may be an older
-- state than it was then.
local FORGOTTEN_AFTER = 3600 * 1000
local SWEPT_SECONDS = 2592000 -- an answer may come that late
local COUNTED_FOR = 30 * 86400 * 1000
local _, owners, at, timeout, too_old, most = unpack(arg, 4)
local now = milliseconds()
at = at or math.floor(now / 1000)
local freed, swept = {}, 0

local function charge(name, latest, reason, is_dead)
  local open = call('HGETALL', OPEN .. name)
  for i = 1, #open, 2 do
    local hold = swept < most and tonumber(open[i + 1]) <= latest and read(HOLDS, open[i])
    if hold and (is_dead or hold[WITHIN] ~= hold[ID]) then
      if hold[GUESS] then
        settle(hold, hold[GUESS], at, reason)
      else
        release(hold)
        call('SET', SWEPT .. hold[ID], '', 'EX', SWEPT_SECONDS)
      end
      for _, payer in ipairs(payers(hold[HOLD_ROUTE])) do
        freed[#freed + 1] = payer
      end
      swept = swept + 1
    end
  end
end

for _, owner in ipairs(owners) do
  charge(owner, at - timeout, too_old)
end
for _, dead in ipairs(call('ZRANGEBYSCORE', OWNERS, '-inf', now)) do
  charge(dead, math.huge, 'the process died', true)
end

local function forget()
  for _, owner in ipairs(call('ZRANGEBYSCORE', OWNERS, '-inf', now - FORGOTTEN_AFTER)) do
    call('ZADD', FORGOTTEN, now, owner)
    call('ZREM', OWNERS, owner)
  end
  for _, owner in ipairs(call('ZRANGEBYSCORE', FORGOTTEN, '-inf', now - COUNTED_FOR, 'LIMIT', 0, most)) do
    if not call('ZSCORE', OWNERS, owner) then
      call('HDEL', ACCOUNTS, ':' .. owner)
    end
    call('ZREM', FORGOTTEN, owner)
  end
end

if swept < most then
  forget()
end
return encode({swept, freed})
