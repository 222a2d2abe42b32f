-- Which accounts and slots a call counts on, in which periods. A route comes as what is kept of it, packed; and as what
-- is looked at: the names of its accounts, their versions, and each limit as {false, start, end, account, limit, the
-- account's place}, where the limit's slot takes the first place.

local KEPT, NAMES_OF, VERSIONS, BOUNDS, SOFT, AROUND = 1, 2, 3, 4, 5, 6

-- The period that the server's clock is in, among those that the client computed; nil if it is in none of them. A limit
-- that has seen a later one stays in that: no clock reopens a period. As budgeted.ledger.base.period_at.
local function choose(start, stop, around, slot, now)
  if around[1] <= now and now < start then
    start, stop = around[1], start
  elseif stop <= now and now < around[2] then
    start, stop = stop, around[2]
  elseif now < start or stop <= now then
    return nil
  end
  if slot[START] > start then
    return slot[START], slot[END]
  end
  return start, stop
end

-- The accounts of a route, its limits with their slots, how many verbs were done with this one, and if the server's clock
-- chose the periods, the time by it and whether one is another than the client's; and whether one of its limits is more
-- than an amount per period, or of a unit that few have. Nil and a reply if the route is not to be had.
local function bind(route, around)
  local found, other = look(route[NAMES_OF])
  if not found then
    return nil, other
  end
  local accounts = {}
  for i, version in ipairs(route[VERSIONS]) do
    local account = found[i + 2] and decode(found[i + 2])
    if not account or account[VERSION] ~= version then
      return nil, encode({'stale'})
    end
    accounts[i] = account
  end
  local now, moved = around and math.floor(milliseconds() / 1000), false
  local slots, special = route[BOUNDS], false
  for i, bound in ipairs(slots) do
    local slot = slot_of(accounts[bound[6]], bound[5])
    if not slot then
      return nil, encode({'stale'})
    end
    bound[1] = slot
    special = special or slot[TERMS] or slot[UNIT] > 2
    if around then
      local start, stop = choose(bound[2], bound[3], around[i], slot, now)
      if not start then
        return nil, encode({'clock', now, i - 1})
      end
      moved = moved or start ~= bound[2]
      bound[2], bound[3] = start, stop
    elseif slot[START] > bound[2] then
      return nil, encode({'stale'})
    end
  end
  return accounts, slots, found[2] + 1, now, moved, special
end

-- What is kept of a route, in the periods that were chosen.
local function kept_in(route, slots)
  local kept, n = decode(route[KEPT]), 0
  for _, leg in ipairs(kept[LEGS]) do
    for _, place in ipairs(leg[2]) do
      n = n + 1
      place[2], place[3] = slots[n][2], slots[n][3]
    end
  end
  return encode(kept)
end

-- Begin the periods that a call is the first of.
local function begin(slots)
  for _, bound in ipairs(slots) do
    if bound[1][START] < bound[2] then
      begin_period(bound[1], bound[2], bound[3])
    end
  end
end
