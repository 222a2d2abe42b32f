-- Which accounts and slots a call counts on, in which periods.

-- The period that the server's clock is in, among those that the client computed; false if it is in none of them. A
-- limit that has seen a later one stays in that: no clock reopens a period. As budgeted.ledger.base.period_at.
local function choose(place, around, slot, now)
  local start, stop = place[2], place[3]
  if around[1] <= now and now < start then
    start, stop = around[1], start
  elseif stop <= now and now < around[2] then
    start, stop = stop, around[2]
  elseif now < start or stop <= now then
    return false
  end
  if slot[START] > start then
    start, stop = slot[START], slot[END]
  end
  place[2], place[3] = start, stop
  return true
end

-- The accounts of a route, {slot, its place on the route, account} of each limit, and the time by the server's clock if
-- that chose the periods; nil and an answer if the route is not to be had.
local function bind(route, mark, around)
  local names = {}
  for i, leg in ipairs(route[LEGS]) do
    names[i] = leg[1]
  end
  names[#names + 1] = ''
  local found = call('HMGET', ACCOUNTS, unpack(names))
  if found[#names] ~= mark then
    return nil, {'gone'}
  end
  local now = around and math.floor(milliseconds() / 1000)
  local accounts, slots, n = {}, {}, 0
  for i, leg in ipairs(route[LEGS]) do
    local account = found[i] and decode(found[i])
    if not account or account[VERSION] ~= route[VERSIONS][i] then
      return nil, {'stale'}
    end
    accounts[i] = account
    for _, place in ipairs(leg[2]) do
      local slot = slot_of(account, place[1])
      if not slot then
        return nil, {'stale'}
      end
      n = n + 1
      if around and not choose(place, around[n], slot, now) then
        return nil, {'clock', now, n - 1}
      end
      if slot[START] > place[2] then
        return nil, {'stale'}
      end
      slots[n] = {slot, place, leg[1]}
    end
  end
  return accounts, slots, now
end

-- Begin the periods that a call is the first of.
local function begin(slots)
  for _, bound in ipairs(slots) do
    local slot, place = bound[1], bound[2]
    if slot[START] < place[2] then
      slot[START], slot[END], slot[SLOT_SPENT], slot[SLOT_HELD] = place[2], place[3], 0, 0
    end
  end
end
