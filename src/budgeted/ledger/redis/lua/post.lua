local _, id, used, at, reason, route = unpack(arg, 4)
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
local one = ended(id)
if one or was_posted(id) then
  call('HSET', ACCOUNTS, COUNT, count)
  if not one then
    return encode({'done', count, {}})
  end
  local kind, was = settle_ended(one, used, at, reason)
  return encode({kind, count, was})
end
local accounts, slots = bind(route)
if not accounts then
  return slots
end
note_posted(id)
begin(slots)
for _, account in ipairs(accounts) do
  save(account)
end
call('HSET', ACCOUNTS, COUNT, count)
book({id, at, 0, decode(route[KEPT]), used, at, reason}, nil, used, reason ~= '' and used[1] or 0, calls_of(used))
return encode({'done', count, {}})
