-- What changes of an account besides its limits; false leaves it.
local token, name, belongs_to, stopped, raised = unpack(arg, 4)

-- The limit that is to be raised for a period, if it has begun no later one.
local function raised_slot(account)
  local slot = account and slot_of(account, raised[1])
  return slot and slot[START] <= raised[3] and slot
end

local function raise_for_period(slot)
  local amount = raised[2]
  if slot[START] < raised[3] then
    begin_period(slot, raised[3], raised[4])
  end
  local terms = slot[TERMS] or {0, 0, 0, 0, 0, {}}
  terms[RAISED], slot[AMOUNT] = terms[RAISED] + amount, slot[AMOUNT] + amount
  slot[TERMS] = terms
  return slot[AMOUNT] - terms[CARRIED] + terms[KEEP] < EXACT
end

return once(token, function()
  local before = read(ACCOUNTS, name)
  local account = before or {name, 0, false, {}, 0, 0, 0, 0, 0}
  if raised then
    local slot = raised_slot(before)
    if not slot then
      return false
    end
    if not raise_for_period(slot) then
      return 'too large'
    end
  end
  belongs_to, stopped = belongs_to or account[BELONGS_TO] or '', stopped or account[STOPPED] or ''
  local either = belongs_to ~= '' or stopped ~= ''
  account[BELONGS_TO], account[STOPPED] = either and belongs_to or nil, either and stopped or nil
  keep_changed(account, {}, before)
  return true
end)
