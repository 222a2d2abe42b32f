local owner, seconds = unpack(arg, 4)
call('ZADD', OWNERS, milliseconds() + seconds * 1000, owner)
if seconds == 0 and owner == process then
  call('HDEL', ACCOUNTS, COUNT) -- by its own word only: it asks for nothing any more
end
return encode(false)
