local id, at, owner, lease, ask, route = unpack(arg, 4)

-- One number is read faster than several, or MessagePack.
local function answer(count, granted, opened)
  if opened == at and granted < 2097152 and count < 4294967296 then
    return count * 2097152 + granted
  end
  return {count, granted, opened}
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
  if not same then
    return encode({'other'})
  end
  local state, other = look({})
  if not state then
    return other
  end
  call('HSET', ACCOUNTS, COUNT, state[2] + 1)
  return answer(state[2] + 1, granted, before[AT])
end
if call('HEXISTS', LATEST, id) == 1 or call('HEXISTS', BEFORE, id) == 1 then
  return encode({'ended'})
end
local accounts, slots, count, now, moved = bind(route, route[AROUND])
if not accounts then
  return slots
end
local granted, refused = admit(ask, slots, route[SOFT])
if not granted then
  return encode({'refused', refused})
end

local usd, tokens = usd_for(ask, granted), tokens_for(ask, granted)
local amounts = {usd, tokens, 1}
local saved = {COUNT, count}
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
return answer(count, granted, opened)
