local _, token, id, used, at = unpack(arg, 4)
return once(token, function()
  local one = ended(id)
  if one and (one[REASON] ~= '' or not one[USED] or not same(one[USED], used)) then
    correct(one, used, at, '')
  end
  return one or false
end)
