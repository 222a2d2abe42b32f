-- The decision about money: the same as budgeted.ledger.admission.admit, number for number. The client has seen to it
-- that rates and tokens are below 2^43, and all that a call may cost below 2^53: no product here is larger than that.

local ASK_USD, USD_RATE, ASK_TOKENS, TOKENS_RATE = 1, 2, 3, 4 -- of what is asked
local LEAST, MOST, WHOLE, UNCERTAIN_OUTPUT, SHARE, FLOOR, ASK_WITHIN = 5, 6, 7, 8, 9, 10, 11
local MIN_GRANT = 256

local function usd_for(ask, output)
  local low = ask[USD_RATE] % 1000
  local rest = low * output
  local part = rest % 1000
  return ask[ASK_USD] + (ask[USD_RATE] - low) / 1000 * output + (rest - part) / 1000 + (part > 0 and 1 or 0)
end

local function tokens_for(ask, output)
  return ask[ASK_TOKENS] + ask[TOKENS_RATE] * output
end

local function guess(ask, granted)
  if ask[UNCERTAIN_OUTPUT] < 0 then
    return false
  end
  local output = math.min(ask[UNCERTAIN_OUTPUT], granted)
  return {usd_for(ask, output), ask[ASK_TOKENS], ask[TOKENS_RATE] * output}
end

-- What is left of a limit now, and what would be left without the calls in flight.
local function room(slot, start)
  if slot[START] ~= start then
    return slot[AMOUNT], slot[AMOUNT]
  end
  local idle = slot[AMOUNT] - slot[SLOT_SPENT]
  return idle - slot[SLOT_HELD], idle
end

-- The share of a call that does not simply get all it can use: what is granted; or nil and the refusal. Its helpers are
-- defined inside, since most calls do without.
local function ration(ask, slots, soft)
  local function need(unit, output)
    if unit == 0 then
      return usd_for(ask, output)
    end
    if unit == 1 then
      return tokens_for(ask, output)
    end
    return unit == 2 and 1 or unit == 3 and ask[ASK_TOKENS] or ask[TOKENS_RATE] * output
  end

  local function fixed(unit)
    return unit == 2 or unit == 3 or ask[unit == 0 and USD_RATE or TOKENS_RATE] == 0
  end

  -- The output tokens that an amount of a unit buys, at most all; -1 when not even the fixed cost fits.
  local function affords(unit, amount)
    local rest = amount - need(unit, 0)
    if rest < 0 then
      return -1
    end
    if fixed(unit) or need(unit, ask[MOST]) <= amount then
      return ask[MOST]
    end
    if unit > 0 then
      return math.floor(rest / ask[TOKENS_RATE])
    end
    local over = rest % ask[USD_RATE]
    return (rest - over) / ask[USD_RATE] * 1000 + math.floor(over * 1000 / ask[USD_RATE])
  end

  -- When a rolling limit has room for so much, if nothing else is spent; 0 if nobody can tell.
  local function free_at(slot, needed)
    local missing = needed + slot[SLOT_SPENT] + slot[SLOT_HELD] - slot[AMOUNT]
    for _, part in ipairs(slot[TERMS][PAST]) do
      missing = missing - part[3]
      if missing <= 0 then
        return part[2] + slot[TERMS][WINDOW]
      end
    end
    return 0
  end

  local costs_nothing = ask[ASK_USD] == 0 and ask[USD_RATE] == 0
  local rooms = {}
  for i, bound in ipairs(slots) do
    if not (soft and soft[i]) and not (bound[1][UNIT] == 0 and costs_nothing) then
      local left, idle = room(bound[1], bound[2])
      rooms[#rooms + 1] = {i = i, unit = bound[1][UNIT], left = left, idle = idle}
    end
  end
  local granted = ask[MOST]
  if not ask[WHOLE] then
    local quarter, share = ask[LEAST], ask[MOST]
    for _, one in ipairs(rooms) do
      if not fixed(one.unit) then
        quarter = math.min(quarter, affords(one.unit, math.floor(one.idle / 4)))
        share = math.min(share, affords(one.unit, math.floor(one.left / ask[SHARE])))
      end
    end
    local floor = math.min(ask[LEAST], math.max(ask[FLOOR], MIN_GRANT))
    floor = math.min(math.max(quarter, floor, 1), ask[MOST])
    granted = math.max(floor, share)
  end
  local tightest, reason, affordable
  for _, one in ipairs(rooms) do
    one.affords = affords(one.unit, one.left)
    affordable = math.min(affordable or one.affords, one.affords)
    if one.affords < granted then
      local why = affords(one.unit, one.idle) < granted and 'spent' or 'held'
      local closer = why == reason and one.affords < (tightest or one).affords
      if not tightest or closer or (why == 'spent' and reason == 'held') then
        tightest, reason = one, why
      end
    end
  end
  if not tightest then
    return granted
  end
  local slot, _, stop, account = unpack(slots[tightest.i])
  local requested = need(slot[UNIT], granted)
  if slot[TERMS] and slot[TERMS][WINDOW] > 0 then
    stop = free_at(slot, requested)
  end
  return nil, {
    tightest.i - 1, slot[1], slot[UNIT], slot[AMOUNT], slot[AMOUNT] - tightest.idle, tightest.idle - tightest.left,
    requested, stop, reason, affordable, account,
  }
end

local function admit(ask, slots, soft)
  local usd, tokens = usd_for(ask, ask[MOST]), tokens_for(ask, ask[MOST])
  for i, bound in ipairs(slots) do
    if not (soft and soft[i]) then
      local left, unit = room(bound[1], bound[2]), bound[1][UNIT]
      local needed = unit == 0 and usd or unit == 1 and tokens or unit == 2 and 1
      needed = needed or (unit == 3 and ask[ASK_TOKENS] or ask[TOKENS_RATE] * ask[MOST])
      local fixed = unit == 2 or unit == 3 or ask[unit == 0 and USD_RATE or TOKENS_RATE] == 0
      if needed > left or not (ask[WHOLE] or needed <= math.floor(left / ask[SHARE]) or fixed) then
        return ration(ask, slots, soft)
      end
    end
  end
  return ask[MOST]
end
