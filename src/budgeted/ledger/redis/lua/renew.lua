local owner, seconds = unpack(arg, 4)
call('ZADD', OWNERS, milliseconds() + seconds * 1000, owner)
if seconds == 0 then
  call('HDEL', ACCOUNTS, ':' .. owner) -- it asks for nothing any more
end
return encode(false)
