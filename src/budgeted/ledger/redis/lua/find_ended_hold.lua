return encode(ended(arg[1]) or false)
