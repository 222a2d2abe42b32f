local _, id, used, at, reason, seconds, mark, route = unpack(arg)
local hold = read(HOLDS, id)
if hold then
  settle(hold, used, at, reason)
  return encode({'done', payers(hold[HOLD_ROUTE])})
end
local one = ended(id)
if one then
  return encode(settle_ended(one, used, at, reason))
end
-- No hold came before that a repetition would miss, so these are known for longer than others.
if call('EXISTS', ONCE .. id) == 1 then
  return encode({'done', {}})
end
local accounts, slots = bind(route, mark)
if not accounts then
  return encode(slots)
end
call('SET', ONCE .. id, '', 'EX', seconds)
begin(slots)
for _, account in ipairs(accounts) do
  save(account)
end
book({id, at, 0, decode(route[KEPT]), used, at, reason}, nil, used, reason ~= '' and used[1] or 0, 1)
return encode({'done', {}})
