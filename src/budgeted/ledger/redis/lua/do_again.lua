-- What a process knows to be done, and this older state lacks, is done again: once, as its id says, and refused nowhere,
-- since it was paid for or is under way.
local _, charge, hold, released = unpack(arg, 4)

-- Begin the periods that a route counts in, where they have not begun.
local function begin_periods(route)
  for _, leg in ipairs(route[LEGS]) do
    local account = read(ACCOUNTS, leg[1])
    for _, place in ipairs(account and leg[2] or {}) do
      local slot = slot_of(account, place[1])
      if slot and slot[START] < place[2] then
        begin_period(slot, place[2], place[3])
        save(account)
      end
    end
  end
end

local function charge_again()
  local id, route, used, at, reason = charge[ID], charge[ENDED_ROUTE], charge[USED], charge[ENDED_AT], charge[REASON]
  local open = read(HOLDS, id)
  local before = not open and ended(id)
  if open then
    settle(open, used, at, reason)
  elseif before and reason ~= '' then
    settle_ended(before, used, at, reason)
  elseif before and not (before[USED] and same(before[USED], used) and before[REASON] == '') then
    correct(before, used, at, '')
  elseif not before and route and not was_posted(id) then
    note_posted(id)
    begin_periods(route)
    book(charge, nil, used, reason ~= '' and used[1] or 0, calls_of(used))
  end
end

local function hold_again()
  local id, route = hold[ID], hold[HOLD_ROUTE]
  if call('HEXISTS', HOLDS, id) + call('HEXISTS', LATEST, id) + call('HEXISTS', BEFORE, id) > 0 or ended(id) then
    return
  end
  begin_periods(route)
  local apart = reservations()
  local amounts, around = apart.parts_of(hold), apart.find(hold[WITHIN])
  local more = around and apart.draw(around, unpack(hold[DRAWN]))
  for _, leg in ipairs(route[LEGS]) do
    local account = read(ACCOUNTS, leg[1])
    if account then
      for _, slot in ipairs(counted(account, leg[2])) do
        slot[SLOT_HELD] = slot[SLOT_HELD] + amounts[slot[UNIT] + 1]
        if slot[TERMS] and slot[TERMS][WINDOW] > 0 then
          roll(slot, hold[AT])
        end
      end
      account[HELD] = account[HELD] + hold[HOLD_USD]
      if more then
        apart.count(account, around, more)
      end
      save(account)
    end
  end
  call('HSET', HOLDS, id, encode(hold))
  call('HSET', OPEN .. hold[OWNER], id, hold[AT])
end

local state, other = look({})
if not state then
  return other
end
call('HSET', ACCOUNTS, COUNT, state[2] + 1)
if charge then
  charge_again()
elseif hold then
  hold_again()
elseif call('HEXISTS', HOLDS, released) == 1 then
  release(read(HOLDS, released))
elseif not ended(released) then
  keep(released, encode(false))
end
return encode(state[2] + 1)
