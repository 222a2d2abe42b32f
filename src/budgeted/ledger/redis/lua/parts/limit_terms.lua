-- Limits that are more than an amount per period: the same as budgeted.ledger.limit_terms, number for number. Most limits
-- have no terms: whoever finds that one has none needs no function here.

local WINDOW, KEEP, STEP, CARRIED, RAISED, PAST = 1, 2, 3, 4, 5, 6 -- of what is special about a limit

-- Forget what a rolling limit was charged before its window.
local function roll(slot, at)
  local terms, past, spent = slot[TERMS], {}, 0
  for _, part in ipairs(terms[PAST]) do
    if part[2] + terms[WINDOW] > at then
      past[#past + 1] = part
      spent = spent + part[3]
    end
  end
  terms[PAST], slot[SLOT_SPENT] = past, spent
end
