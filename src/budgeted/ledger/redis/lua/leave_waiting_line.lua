-- The lines of an account, or of all (false).
for _, name in ipairs(arg[4] and {arg[4]} or call('HKEYS', WAITING)) do
  waiting_line().leave(name)
end
return encode(false)
