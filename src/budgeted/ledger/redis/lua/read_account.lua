return {call('HGET', ACCOUNTS, arg[4]), call('HGET', MODELS, arg[4])}
