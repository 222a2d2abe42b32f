-- An account that changes: what its new limits count, and who learns of it.

local EXACT = 9007199254740992 -- integers below it are counted exactly

-- Count an open hold on a limit that is new, if it belongs there. Returns whether the hold's route has changed.
local function count_in(hold, leg, slot, catches_up)
  local changed, place = false, nil
  for _, one in ipairs(leg[2]) do
    if one[1] == slot[1] then
      place = one
    end
  end
  if not place then
    if not catches_up or hold[AT] < slot[START] then
      return false
    end
    leg[2][#leg[2] + 1] = {slot[1], slot[START], slot[END]}
    changed = true
  elseif place[2] > slot[START] then
    -- The hold has seen a later period: a clock set back does not reopen an earlier one.
    slot[START], slot[END], slot[SLOT_SPENT], slot[SLOT_HELD] = place[2], place[3], 0, 0
  elseif place[2] < slot[START] then
    return false
  end
  slot[SLOT_HELD] = slot[SLOT_HELD] + reservations().parts_of(hold)[slot[UNIT] + 1]
  return changed
end

-- Let new limits count the holds that the account has open; returns those that changed by it.
local function take_in_flight(account, new, revived)
  local changed = {}
  for _, raw in ipairs(call('HVALS', HOLDS)) do
    local hold = decode(raw)
    for _, leg in ipairs(hold[HOLD_ROUTE][LEGS]) do
      if leg[1] == account[ID] then
        local differs = false
        account[HELD] = account[HELD] + (revived and hold[HOLD_USD] or 0)
        for _, one in ipairs(new) do
          differs = count_in(hold, leg, one.slot, one.catches_up) or differs
        end
        if differs then
          changed[#changed + 1] = hold
        end
      end
    end
  end
  return changed
end

-- Keep an account that is new, or is another one for those who pay with it from now on. `new` are limits that it did not
-- have, each with whether it also counts holds that were opened without it.
local function keep_changed(account, new, known)
  local revived = not known and call('SISMEMBER', GONE, account[ID]) == 1
  local changed = {}
  if revived or (known and #new > 0) then
    changed = take_in_flight(account, new, revived)
  end
  account[VERSION] = call('INCR', project .. ':version')
  save(account)
  call('ZADD', NAMES, 0, account[ID])
  call('SREM', GONE, account[ID])
  for _, hold in ipairs(changed) do
    call('HSET', HOLDS, hold[ID], encode(hold))
  end
  tell_waiting({{account[ID]}})
end
