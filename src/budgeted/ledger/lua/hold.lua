local id, at, owner, lease, ask, route, mark = unpack(arg)

local known = call('HGET', HOLDS, id)
if known then
  local before = decode(known)
  local granted, legs = before[GRANTED], route[LEGS]
  local is, guessed = before[GUESS], guess(ask, granted)
  local same = before[HOLD_USD] == usd_for(ask, granted) and before[HOLD_TOKENS] == tokens_for(ask, granted)
    and #legs == #before[HOLD_ROUTE][LEGS]
    and (is and guessed and is[1] == guessed[1] and is[2] == guessed[2] and is[3] == guessed[3] or is == guessed)
  for i, leg in ipairs(before[HOLD_ROUTE][LEGS]) do
    same = same and leg[1] == legs[i][1]
  end
  return same and {granted, before[AT]} or encode({'other'})
end
if call('HEXISTS', LATEST, id) == 1 or call('HEXISTS', BEFORE, id) == 1 then
  return encode({'ended'})
end
local accounts, slots, now = bind(route, mark, route[AROUND])
at = now or at
if not accounts then
  return encode(slots)
end
local granted, refused = admit(ask, slots, route[SOFT])
if not granted then
  return encode({'refused', refused})
end

local usd, tokens = usd_for(ask, granted), tokens_for(ask, granted)
local amounts = {usd, tokens, 1}
local saved = {}
begin(slots)
for _, bound in ipairs(slots) do
  bound[1][SLOT_HELD] = bound[1][SLOT_HELD] + amounts[bound[1][UNIT] + 1]
end
for _, account in ipairs(accounts) do
  account[HELD] = account[HELD] + usd
  saved[#saved + 1] = account[ID]
  saved[#saved + 1] = encode(account)
end
call('HSET', ACCOUNTS, unpack(saved))
local kept = {route[DAY], route[PROVIDER], route[MODEL], route[LEGS]}
call('HSET', HOLDS, id, encode({id, at, granted, usd, tokens, guess(ask, granted), kept, owner}))
call('HSET', OPEN .. owner, id, at)
if lease then
  call('ZADD', OWNERS, milliseconds() + lease * 1000, owner)
end
return {granted, at} -- numbers are read faster than MessagePack
