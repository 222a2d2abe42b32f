local _, id = unpack(arg)
local hold = read(HOLDS, id)
if not hold then
  return encode({'unknown'})
end
release(hold)
return encode({'done', payers(hold[HOLD_ROUTE])})
