-- What another ledger knew, as it is: nothing is counted, and repeating it changes nothing.
local accounts, rows, charges = unpack(arg, 4)

local in_flight = {}
for _, raw in ipairs(call('HVALS', HOLDS)) do
  for _, leg in ipairs(decode(raw)[HOLD_ROUTE][LEGS]) do
    in_flight[leg[1]] = true
  end
end
for _, one in ipairs(accounts) do
  if in_flight[one[1][ID]] then
    return encode(one[1][ID])
  end
end
for _, one in ipairs(accounts) do
  local account, models = one[1], one[2]
  account[VERSION] = call('INCR', project .. ':version')
  save(account)
  if models then
    call('HSET', MODELS, account[ID], encode(models))
  else
    call('HDEL', MODELS, account[ID])
  end
  call('ZADD', NAMES, 0, account[ID])
  call('SREM', GONE, account[ID])
  tell_waiting({{account[ID]}})
end
for _, one in ipairs(rows) do
  local day, name, row = one[1], one[2], one[3]
  local known = read(ROWS .. day, name) or {}
  local place = #known + 1
  for i, other in ipairs(known) do
    if other[1] == row[1] and other[2] == row[2] then
      place = i
    end
  end
  known[place] = row
  call('HSET', ROWS .. day, name, encode(known))
  call('ZADD', DAYS, day, day)
end
for _, one in ipairs(charges) do
  call('HSET', UNCERTAIN, one[ID], encode(one))
end
return encode(false)
