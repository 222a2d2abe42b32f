return encode(ended(arg[4]) or false)
