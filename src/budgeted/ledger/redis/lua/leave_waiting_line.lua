waiting_line().leave(arg[4])
return encode(false)
