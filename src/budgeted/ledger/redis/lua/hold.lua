local id, at, owner, lease, mark, ask, route = unpack(arg)

-- One number is read faster than several, or MessagePack.
local function answer(granted, opened)
  return opened == at and granted or {granted, opened}
end

local known = call('HGET', HOLDS, id)
if known then
  local before = decode(known)
  local granted, names = before[GRANTED], route[NAMES_OF]
  local is, guessed = before[GUESS], guess(ask, granted)
  local same = before[HOLD_USD] == usd_for(ask, granted) and before[HOLD_TOKENS] == tokens_for(ask, granted)
    and #names == #before[HOLD_ROUTE][LEGS]
    and (is and guessed and is[1] == guessed[1] and is[2] == guessed[2] and is[3] == guessed[3] or is == guessed)
  for i, leg in ipairs(before[HOLD_ROUTE][LEGS]) do
    same = same and leg[1] == names[i]
  end
  return same and answer(granted, before[AT]) or encode({'other'})
end
if call('HEXISTS', LATEST, id) == 1 or call('HEXISTS', BEFORE, id) == 1 then
  return encode({'ended'})
end
local accounts, slots, now, moved = bind(route, mark, route[AROUND])
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
-- An array of eight, the last of which the client has packed already.
local opened = now or at
local record = '\152' .. encode(id, opened, granted, usd, tokens, guess(ask, granted), owner)
call('HSET', HOLDS, id, record .. (moved and kept_in(route, slots) or route[KEPT]))
call('HSET', OPEN .. owner, id, opened)
if lease then
  call('ZADD', OWNERS, milliseconds() + lease * 1000, owner)
end
return answer(granted, opened)
