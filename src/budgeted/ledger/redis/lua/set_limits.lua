local token, name, specs, explicit, create = unpack(arg, 4)
local SPEC_SINCE = 6

local function same_limits(account)
  if #specs ~= #account[SLOTS] or (explicit and not account[EXPLICIT]) then
    return false
  end
  for i, slot in ipairs(account[SLOTS]) do
    if slot[1] ~= specs[i][1] or slot[AMOUNT] ~= specs[i][AMOUNT] then
      return false
    end
  end
  return true
end

-- What of an account's past counts in a limit it did not have. The rows know days, the totals know the last reset: the
-- lower of the two is exact, whichever of the reset and the period's start came last.
local function spent_since(account, spec)
  local unit = spec[UNIT]
  local since_reset = account[USD + unit]
  if spec[SPEC_SINCE] == 0 then
    return since_reset
  end
  local in_period = 0
  for _, day in ipairs(call('ZRANGEBYSCORE', DAYS, spec[SPEC_SINCE], '+inf')) do
    for _, row in ipairs(read(ROWS .. day, name) or {}) do
      in_period = in_period + (unit == 0 and row[4] or unit == 1 and row[5] + row[6] or row[3])
    end
  end
  return math.min(since_reset, in_period)
end

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
  slot[SLOT_HELD] = slot[SLOT_HELD] + ({hold[HOLD_USD], hold[HOLD_TOKENS], 1})[slot[UNIT] + 1]
  return changed
end

-- Let new limits count the holds that the account has open; returns those that changed by it.
local function take_in_flight(account, new, revived)
  local changed = {}
  for _, raw in ipairs(call('HVALS', HOLDS)) do
    local hold = decode(raw)
    for _, leg in ipairs(hold[HOLD_ROUTE][LEGS]) do
      if leg[1] == name then
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

return once(token, function()
  local before = read(ACCOUNTS, name)
  if before and (create or same_limits(before)) then
    return true
  end
  local account = before or {name, 0, false, {}, 0, 0, 0, 0, 0}
  local slots, new = {}, {}
  for i, spec in ipairs(specs) do
    local slot = slot_of(account, spec[1])
    if not slot then
      local catches_up = spec[SPEC_SINCE] >= 0
      local spent = before and catches_up and spent_since(account, spec) or 0
      slot = {spec[1], spec[UNIT], spec[AMOUNT], spec[START], spec[END], spent, 0, spec[SPEC_SINCE]}
      new[#new + 1] = {slot = slot, catches_up = catches_up}
    end
    slot[AMOUNT] = spec[AMOUNT]
    slots[i] = slot
  end
  account[EXPLICIT] = account[EXPLICIT] or explicit
  account[SLOTS] = slots
  local revived = not before and call('SISMEMBER', GONE, name) == 1
  local changed = {}
  if revived or (before and #new > 0) then
    changed = take_in_flight(account, new, revived)
  end
  account[VERSION] = call('INCR', project .. ':version')
  save(account)
  call('ZADD', NAMES, 0, name)
  call('SREM', GONE, name)
  for _, hold in ipairs(changed) do
    call('HSET', HOLDS, hold[ID], encode(hold))
  end
  return true
end)
