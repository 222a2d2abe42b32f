local token, name = unpack(arg, 4)

-- Calls in flight are charged to the others, or to whoever bears the name by then.
local function in_flight()
  for _, raw in ipairs(call('HVALS', HOLDS)) do
    for _, leg in ipairs(decode(raw)[HOLD_ROUTE][LEGS]) do
      if leg[1] == name then
        return true
      end
    end
  end
  return false
end

return once(token, function()
  if call('HEXISTS', ACCOUNTS, name) == 1 and name ~= '' then
    if in_flight() then
      call('SADD', GONE, name)
    end
    call('HDEL', ACCOUNTS, name)
    call('HDEL', MODELS, name)
    call('ZREM', NAMES, name)
    tell_waiting({{name}})
  end
  return true
end)
