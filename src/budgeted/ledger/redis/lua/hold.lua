local id, at, owner, lease, ask, route, waits = unpack(arg, 4)

-- One number is read faster than several, or MessagePack.
local function answer(count, granted, opened)
  if opened == at and granted < 2097152 and count < 4294967296 then
    return count * 2097152 + granted
  end
  return {count, granted, opened}
end

-- A call that needs more than most: few do, so that what it takes is defined where one does.
local function hold_apart()
  local it = reservations()

  -- The answer to it.
  function it.answer(count, hold)
    local drawn = hold[DRAWN]
    return {
      count, hold[GRANTED], hold[AT], hold[HOLD_USD], hold[HOLD_TOKENS], hold[OUTPUT], hold[WITHIN], drawn[1], drawn[2],
    }
  end

  -- The reservation that it may draw on: one that is open, and covers no account but the call's.
  function it.around(accounts)
    local around, covered = it.find(ask[ASK_WITHIN]), {}
    for _, account in ipairs(accounts) do
      covered[account[ID]] = true
    end
    for _, leg in ipairs(around and around[HOLD_ROUTE][LEGS] or {}) do
      around = covered[leg[1]] and around
    end
    return around or nil
  end

  -- Have the limits be as they are for it: in its periods, at its time, and without what is set aside for it.
  function it.prepare(accounts, slots, opened, around)
    begin(slots)
    for _, bound in ipairs(slots) do
      local terms = bound[1][TERMS]
      if terms and terms[WINDOW] > 0 then
        roll(bound[1], opened)
      end
    end
    for _, account in ipairs(around and accounts or {}) do
      it.count(account, around, {-around[HOLD_USD], -around[HOLD_TOKENS]})
    end
  end

  -- Its record, but for its route; it has drawn on its reservation then.
  function it.granted(accounts, opened, granted, around)
    local usd, tokens, drawn = usd_for(ask, granted), tokens_for(ask, granted), {0, 0}
    if around then
      drawn = {math.min(usd, around[HOLD_USD]), math.min(tokens, around[HOLD_TOKENS])}
      it.draw(around, drawn[1], drawn[2])
      for _, account in ipairs(accounts) do
        it.count(account, around, {around[HOLD_USD], around[HOLD_TOKENS]})
      end
    end
    local within = ask[ASK_WITHIN]
    local guessed = within ~= id and guess(ask, granted) -- what is set aside for others is charged to nobody
    local named = (around or within == id) and within or ''
    return {id, opened, granted, usd, tokens, guessed, owner, false, ask[TOKENS_RATE] * granted, named, drawn}
  end

  return it
end

local known = call('HGET', HOLDS, id)
if known then
  local before = decode(known)
  local granted, names = before[GRANTED], route[NAMES_OF]
  local is, guessed = before[GUESS], guess(ask, granted)
  local same = before[HOLD_USD] == usd_for(ask, granted) and before[HOLD_TOKENS] == tokens_for(ask, granted)
    and (is and guessed and is[1] == guessed[1] and is[2] == guessed[2] and is[3] == guessed[3] or is == guessed)
  if before[WITHIN] == id then -- calls have drawn on it
    same = ask[ASK_WITHIN] == id and before[HOLD_USD] <= ask[ASK_USD] and before[HOLD_TOKENS] <= ask[ASK_TOKENS]
  end
  same = same and #names == #before[HOLD_ROUTE][LEGS]
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
  if before[OUTPUT] then
    return hold_apart().answer(state[2] + 1, before)
  end
  return answer(state[2] + 1, granted, before[AT])
end
if call('HEXISTS', LATEST, id) == 1 or call('HEXISTS', BEFORE, id) == 1 then
  return encode({'ended'})
end
local accounts, slots, count, now, moved, special = bind(route, route[AROUND])
if not accounts then
  return slots
end
local opened = now or at
local apart = (special or ask[ASK_WITHIN]) and hold_apart()
local around = apart and apart.around(accounts)
if apart then
  apart.prepare(accounts, slots, opened, around)
end
local granted, refused = admit(ask, slots, route[SOFT])
if not granted then
  if waits and refused[9] == 'held' then
    waiting_line().join(refused[11])
  elseif waits then
    waiting_line().pass_on(route[NAMES_OF])
  end
  return encode({'refused', refused})
end

local usd, tokens = usd_for(ask, granted), tokens_for(ask, granted)
local hold = apart and apart.granted(accounts, opened, granted, around)
local amounts = hold and apart.parts_of(hold) or {usd, tokens, 1}
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
-- An array of eight, the last of which the client has packed already; or of eleven, of which it is the same.
local kept = moved and kept_in(route, slots) or route[KEPT]
local record
if hold then
  record = '\155' .. encode(unpack(hold, ID, OWNER)) .. kept .. encode(unpack(hold, OUTPUT))
else
  record = '\152' .. encode(id, opened, granted, usd, tokens, guess(ask, granted), owner) .. kept
end
call('HSET', HOLDS, id, record)
call('HSET', OPEN .. owner, id, opened)
if lease then
  call('ZADD', OWNERS, milliseconds() + lease * 1000, owner)
end
if waits then
  waiting_line().pass_on(route[NAMES_OF])
end
if hold then
  return apart.answer(count, hold)
end
return answer(count, granted, opened)
