local token, name, specs, explicit, create = unpack(arg, 4)
local SPEC_SINCE, SPEC_WINDOW, SPEC_KEEP, SPEC_STEP = 6, 7, 8, 9

local function same_limits(account)
  if #specs ~= #account[SLOTS] or (explicit and not account[EXPLICIT]) then
    return false
  end
  for i, slot in ipairs(account[SLOTS]) do
    local terms, spec = slot[TERMS], specs[i]
    local stated = terms and slot[AMOUNT] - terms[CARRIED] - terms[RAISED] or slot[AMOUNT]
    if slot[1] ~= spec[1] or stated ~= spec[AMOUNT] or (terms and terms[KEEP] or 0) ~= spec[SPEC_KEEP] then
      return false
    end
  end
  return true
end

-- What of an account's past counts in a limit it did not have. The rows know days, the totals know the last reset: the
-- lower of the two is exact, whichever of the reset and the period's start came last.
local function spent_since(account, spec)
  local unit = spec[UNIT]
  local since_reset = account[unit > 2 and TOKENS or USD + unit]
  if spec[SPEC_SINCE] == 0 and unit <= 2 then
    return since_reset
  end
  local in_period = 0
  for _, day in ipairs(call('ZRANGEBYSCORE', DAYS, spec[SPEC_SINCE], '+inf')) do
    for _, row in ipairs(read(ROWS .. day, name) or {}) do
      local figures = {row[4], row[5] + row[6], row[3], row[5], row[6]}
      in_period = in_period + figures[unit + 1]
    end
  end
  return math.min(since_reset, in_period)
end

-- A limit that is new to its account: it begins with what was charged before; one that rolls, as if just now.
local function new_slot(spec, spent)
  local slot = {spec[1], spec[UNIT], spec[AMOUNT], spec[START], spec[END], spent, 0, spec[SPEC_SINCE]}
  if spec[SPEC_WINDOW] > 0 and spent > 0 then
    slot[TERMS] = {spec[SPEC_WINDOW], 0, 0, 0, 0, {{spec[SPEC_STEP], spec[SPEC_STEP], spent}}}
  end
  return slot
end

-- Give a limit what somebody states for it. What was charged stays, and what was added for its period.
local function restate(slot, spec)
  local old, window, kept = slot[TERMS] or {0, 0, 0, 0, 0, {}}, spec[SPEC_WINDOW], spec[SPEC_KEEP]
  local carried, raised = math.min(old[CARRIED], kept), old[RAISED]
  slot[AMOUNT] = spec[AMOUNT] + carried + raised
  if kept > 0 or window > 0 or raised > 0 then
    slot[TERMS] = {window, kept, window > 0 and old[STEP] or spec[SPEC_STEP], carried, raised, old[PAST]}
  else
    slot[TERMS] = nil
  end
end

local function is_too_large(account, spec)
  local slot = account and slot_of(account, spec[1])
  return spec[AMOUNT] + spec[SPEC_KEEP] + (slot and slot[TERMS] and slot[TERMS][RAISED] or 0) >= EXACT
end

return once(token, function()
  local before = read(ACCOUNTS, name)
  if before and (create or same_limits(before)) then
    return true
  end
  for i, spec in ipairs(specs) do
    if is_too_large(before, spec) then
      return i
    end
  end
  local account = before or {name, 0, false, {}, 0, 0, 0, 0, 0}
  local slots, new = {}, {}
  for i, spec in ipairs(specs) do
    local slot = slot_of(account, spec[1])
    if not slot then
      local catches_up = spec[SPEC_SINCE] >= 0
      local spent = before and catches_up and spent_since(account, spec) or 0
      slot = new_slot(spec, spent)
      new[#new + 1] = {slot = slot, catches_up = catches_up}
    end
    restate(slot, spec)
    slots[i] = slot
  end
  account[EXPLICIT] = account[EXPLICIT] or explicit
  account[SLOTS] = slots
  keep_changed(account, new, before)
  return true
end)
