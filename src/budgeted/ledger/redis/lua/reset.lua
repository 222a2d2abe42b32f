local token, name = unpack(arg, 4)
return once(token, function()
  local account = read(ACCOUNTS, name)
  if account then
    account[USD], account[TOKENS], account[CALLS] = 0, 0, 0
    for _, slot in ipairs(account[SLOTS]) do
      slot[SLOT_SPENT] = 0
      if slot[TERMS] then
        slot[TERMS][PAST] = {}
      end
    end
    save(account)
    call('HDEL', MODELS, name)
    tell_waiting({{name}})
  end
  return true
end)
