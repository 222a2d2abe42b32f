local owner, seconds = unpack(arg)
call('ZADD', OWNERS, milliseconds() + seconds * 1000, owner)
return encode({'done'})
