local prefix, after, count = unpack(arg, 4)
local found = {}
local first = after and after >= prefix and '(' .. after or '[' .. prefix
local last = prefix == '' and '+' or '(' .. prefix .. '\255' -- no byte of UTF-8 is as large
for i, name in ipairs(call('ZRANGEBYLEX', NAMES, first, last, 'LIMIT', 0, count)) do
  found[2 * i - 1] = call('HGET', ACCOUNTS, name)
  found[2 * i] = call('HGET', MODELS, name)
end
return found
