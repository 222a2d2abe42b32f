local _, id = unpack(arg, 4)
local hold = read(HOLDS, id)
local names = hold and payers(hold[HOLD_ROUTE]) or {}
local state, other = look(names)
if not state then
  return other
end
local count = state[2] + 1
if hold then
  release(hold, state)
  return encode({'done', count, names})
end
call('HSET', ACCOUNTS, COUNT, count)
-- One that comes after its release, late or repeated, must not be opened: nobody would end it.
if not ended(id) then
  keep(id, encode(false))
end
return encode({'unknown', count})
