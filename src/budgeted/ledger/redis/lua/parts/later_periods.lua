-- The same as budgeted.ledger.limit_terms.begin_period, number for number.

-- Begin a later period of a limit: nothing is spent of it, and what may be carried over is.
local function begin_period(slot, start, stop)
  local terms = slot[TERMS]
  if terms then
    local stated, step, idle = slot[AMOUNT] - terms[CARRIED] - terms[RAISED], terms[STEP], 0
    local left = math.max(0, stated + terms[CARRIED] - slot[SLOT_SPENT] - slot[SLOT_HELD])
    if step > 0 then -- of periods that nobody has heard of nothing was spent
      idle = math.floor(math.max(0, 2 * (start - slot[END]) + step) / (2 * step))
    end
    local carried = math.min(terms[KEEP], left + idle * stated)
    local special = terms[KEEP] > 0 or terms[WINDOW] > 0
    slot[AMOUNT] = stated + carried
    slot[TERMS] = special and {terms[WINDOW], terms[KEEP], step, carried, 0, {}} or nil
  end
  slot[START], slot[END], slot[SLOT_SPENT], slot[SLOT_HELD] = start, stop, 0, 0
end
