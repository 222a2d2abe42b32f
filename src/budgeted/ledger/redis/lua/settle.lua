local _, id, used, at, reason = unpack(arg, 4)
local hold = read(HOLDS, id)
local names = hold and payers(hold[HOLD_ROUTE]) or {}
local state, other = look(names)
if not state then
  return other
end
local count = state[2] + 1
if hold then
  settle(hold, used, at, reason, state)
  return encode({'done', count, names})
end
call('HSET', ACCOUNTS, COUNT, count)
local one = ended(id)
if not one then
  return encode({call('EXISTS', SWEPT .. id) == 1 and 'dropped' or 'unknown', count})
end
local kind, was = settle_ended(one, used, at, reason)
return encode({kind, count, was})
