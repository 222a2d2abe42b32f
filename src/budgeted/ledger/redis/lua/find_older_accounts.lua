-- Which of these accounts are missing, or of an earlier version than a process knows. Later versions are larger than all
-- of these from now on, so that a route that was computed from one fits nothing else.
local another, versions = unpack(arg, 4)
local state, other = look({})
if not state then
  return other
end
local found, newest = {}, tonumber(call('GET', project .. ':version') or 0)
for i = 1, #versions, 2 do
  local account = read(ACCOUNTS, versions[i])
  if not account or (account[VERSION] < versions[i + 1] and not another) then
    found[#found + 1] = versions[i]
  end
  newest = math.max(newest, versions[i + 1])
end
call('SET', project .. ':version', string.format('%d', newest))
return encode(found)
