local _, id, used, at, reason = unpack(arg)
local hold = read(HOLDS, id)
if hold then
  settle(hold, used, at, reason)
  return encode({'done', payers(hold[HOLD_ROUTE])})
end
local one = ended(id)
return encode(one and settle_ended(one, used, at, reason) or {'unknown'})
