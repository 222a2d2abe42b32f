return {call('HGET', ACCOUNTS, arg[1]), call('HGET', MODELS, arg[1])}
