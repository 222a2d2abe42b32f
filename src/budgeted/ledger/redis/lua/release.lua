local _, id = unpack(arg)
local hold = read(HOLDS, id)
if not hold then
  -- One that comes after its release, late or repeated, must not be opened: nobody would end it.
  if not ended(id) then
    keep(id, encode(false))
  end
  return encode({'unknown'})
end
release(hold)
return encode({'done', payers(hold[HOLD_ROUTE])})
