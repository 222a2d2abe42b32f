-- What a hold that ends, a charge or a correction does to accounts and rows.

local NOTHING = {0, 0, 0, 0, 0}
local RETENTION_DAYS = 400
local PARTS = 60 -- of a rolling limit's window: charges of one part are forgotten with the last of them
local remembered = arg[4] -- how many ended holds are remembered at least

-- How many calls a charge is of; one that was written before there were several is of one.
local function calls_of(used)
  return used[4] or 1
end

local function same(used, other)
  return used[1] == other[1] and used[2] == other[2] and used[3] == other[3] and calls_of(used) == calls_of(other)
end

-- Keep an ended hold's record for a while: in two generations, so that forgetting costs nothing.
local function keep(id, raw)
  call('HSET', LATEST, id, raw)
  if call('HLEN', LATEST) >= remembered then
    call('UNLINK', BEFORE)
    call('RENAME', LATEST, BEFORE)
  end
end

-- Remember an ended hold instead of what was known before.
local function remember(one)
  local raw = encode(one)
  keep(one[ID], raw)
  if one[REASON] ~= '' then
    call('HSET', UNCERTAIN, one[ID], raw)
  else
    call('HDEL', UNCERTAIN, one[ID])
  end
end

local function count_model(account, model, usd)
  local since = account[SLOTS][1] and account[SLOTS][1][START] or 0
  local models = account[MODELS_SINCE] == since and read(MODELS, account[ID]) or {}
  account[MODELS_SINCE] = since
  models[model] = math.max(0, (models[model] or 0) + usd)
  call('HSET', MODELS, account[ID], encode(models))
end

-- A day's first row drops the rows that are too old by then.
local function prune()
  local newest = tonumber(call('ZREVRANGE', DAYS, 0, 0)[1])
  for _, day in ipairs(call('ZRANGEBYSCORE', DAYS, '-inf', '(' .. newest - RETENTION_DAYS)) do
    call('UNLINK', ROWS .. day)
    call('ZREM', DAYS, day)
  end
end

local function count_row(route, name, used, uncertain, calls)
  local rows = read(ROWS .. route[DAY], name) or {}
  local row
  for _, one in ipairs(rows) do
    if one[1] == route[PROVIDER] and one[2] == route[MODEL] then
      row = one
    end
  end
  if not row then
    row = {route[PROVIDER], route[MODEL], 0, 0, 0, 0, 0}
    rows[#rows + 1] = row
  end
  for i, more in ipairs({calls, used[1], used[2], used[3], uncertain}) do
    row[i + 2] = row[i + 2] + more
  end
  call('HSET', ROWS .. route[DAY], name, encode(rows))
  if call('ZADD', DAYS, route[DAY], route[DAY]) == 1 then
    prune()
  end
end

-- Charge a rolling limit; or correct, by a difference, a charge that was made or corrected last at `charged`, of a call
-- that began at `opened`: as budgeted.ledger.limit_terms.charged.
local function charge_rolling(slot, at, amount, opened, charged)
  roll(slot, at)
  local window, past = slot[TERMS][WINDOW], slot[TERMS][PAST]
  local newest = past[#past]
  if amount > 0 and not (charged and charged + window <= at) then
    at = math.max(at, newest and newest[2] or at) -- a clock set back takes nothing out of the window
    if newest and at < newest[1] + math.max(1, math.floor(window / PARTS)) then
      newest[2], newest[3] = at, newest[3] + amount
    else
      past[#past + 1] = {at, at, amount}
    end
    slot[SLOT_SPENT] = slot[SLOT_SPENT] + amount
  elseif amount < 0 and opened + window > at then -- else it may be forgotten, and this be others'
    for _, part in ipairs(past) do
      local less = part[2] >= opened and math.min(part[3], -amount) or 0
      part[3], amount = part[3] - less, amount + less
      slot[SLOT_SPENT] = slot[SLOT_SPENT] - less
    end
  end
end

-- Whether a charge that was opened then counts on a limit that its route does not name: one that came later.
local function came_later(slot, places, day, opened)
  if slot[SLOT_SINCE] < 0 or slot[SLOT_SINCE] > day or opened < slot[START] or slot[END] <= opened then
    return false
  end
  for _, place in ipairs(places) do
    if place[1] == slot[1] then
      return false
    end
  end
  return true
end

-- The slots of an account that a charge counts on: those of its route, unless their period has ended.
local function counted(account, places, one, correcting)
  local found = {}
  for _, place in ipairs(places) do
    local slot = slot_of(account, place[1])
    if slot and slot[START] == place[2] then
      found[#found + 1] = slot
    end
  end
  for _, slot in ipairs(correcting and account[SLOTS] or {}) do
    if came_later(slot, places, one[ENDED_ROUTE][DAY], one[OPENED]) then
      found[#found + 1] = slot
    end
  end
  return found
end

local function payers(route)
  local names = {}
  for i, leg in ipairs(route[LEGS]) do
    names[i] = leg[1]
  end
  return names
end

-- End a hold: off its limits with what it held, on with what it is charged, which may be a difference to an earlier
-- charge: then `correcting` has when that was made, false if it was none. No limit is credited with more than was spent
-- on it. With the state that was looked at, it counts as a verb.
local function book(one, closing, used, uncertain, calls, correcting, state)
  local apart = closing and closing[OUTPUT] and reservations()
  local held = NOTHING
  if closing then
    local usd, tokens = closing[HOLD_USD], closing[HOLD_TOKENS]
    held = apart and apart.parts_of(closing) or {usd, tokens, 1, tokens, tokens}
  end
  local spent = {used[1], used[2] + used[3], calls, used[2], used[3]}
  local charged = calls ~= 0 or uncertain ~= 0 or not same(used, NOTHING)
  local route = one[ENDED_ROUTE]
  local found = state or call('HMGET', ACCOUNTS, '', COUNT, unpack(payers(route)))
  local saved = state and {COUNT, state[2] + 1} or {}
  remember(one)
  if closing then
    call('HDEL', HOLDS, one[ID])
    call('HDEL', OPEN .. closing[OWNER], one[ID])
  end
  -- What a call within a reservation took from there and did not use goes back.
  local around = apart and apart.find(closing[WITHIN])
  local more = around and apart.draw(around, used[1] - closing[DRAWN][1], spent[2] - closing[DRAWN][2])
  local legs = route[LEGS]
  local users_and_keys = charged and #legs > 1 and (#legs > 2 or legs[1][1] ~= 'g') and {u = 0, b = 0}
  for i, leg in ipairs(legs) do
    local name = leg[1]
    local account = found[i + 2] and decode(found[i + 2])
    if account then
      for _, slot in ipairs(counted(account, leg[2], one, correcting)) do
        local unit = slot[UNIT] + 1
        slot[SLOT_HELD] = slot[SLOT_HELD] - held[unit]
        if slot[TERMS] and slot[TERMS][WINDOW] > 0 then
          charge_rolling(slot, one[ENDED_AT], spent[unit], one[OPENED], correcting and correcting[1])
        else
          slot[SLOT_SPENT] = math.max(0, slot[SLOT_SPENT] + spent[unit])
        end
      end
      account[HELD] = account[HELD] - held[1]
      if more then
        apart.count(account, around, more)
      end
      if charged then
        account[USD] = math.max(0, account[USD] + spent[1])
        account[TOKENS] = math.max(0, account[TOKENS] + spent[2])
        account[CALLS] = account[CALLS] + calls
        count_model(account, route[MODEL], spent[1])
      end
      saved[#saved + 1] = name
      saved[#saved + 1] = encode(account)
    end
    if charged then
      count_row(route, name, used, uncertain, calls)
      -- What a second user pays, too, is counted again, by which reports know that it is the same.
      local kind = users_and_keys and string.sub(name, 1, 1)
      local others = kind and users_and_keys[kind]
      if others then
        if others > 0 then
          count_row(route, 'o:' .. kind .. others, used, uncertain, calls)
        end
        users_and_keys[kind] = others + 1
      end
    end
  end
  if saved[1] then
    call('HSET', ACCOUNTS, unpack(saved))
  end
  tell_waiting(legs)
end

local function settle(hold, used, at, reason, state)
  local one = {hold[ID], hold[AT], hold[HOLD_USD], hold[HOLD_ROUTE], used, at, reason}
  book(one, hold, used, reason ~= '' and used[1] or 0, calls_of(used), false, state)
end

local function release(hold, state)
  local one = {hold[ID], hold[AT], hold[HOLD_USD], hold[HOLD_ROUTE], false, hold[AT], ''}
  book(one, hold, NOTHING, 0, 0, false, state)
end

local function correct(one, used, at, reason)
  local was = one[USED] or NOTHING
  local difference = {used[1] - was[1], used[2] - was[2], used[3] - was[3], 0}
  local uncertain = (reason ~= '' and used[1] or 0) - (one[REASON] ~= '' and was[1] or 0)
  local now = {one[ID], one[OPENED], one[ENDED_HELD], one[ENDED_ROUTE], used, at, reason}
  local calls = calls_of(used) - (one[USED] and calls_of(was) or 0)
  book(now, nil, difference, uncertain, calls, {one[USED] and one[ENDED_AT]})
end

-- A hold that has ended is settled: repeated, corrected by the truth, or contradicted. Returns which, and who is freed
-- or what it was.
local function settle_ended(one, used, at, reason)
  local was = one[USED]
  if was and same(was, used) and (one[REASON] ~= '') == (reason ~= '') then
    return 'done', {}
  end
  if was and one[REASON] == '' then
    return reason ~= '' and 'done' or 'other', reason ~= '' and {} or was
  end
  correct(one, used, at, reason)
  return 'done', {}
end
