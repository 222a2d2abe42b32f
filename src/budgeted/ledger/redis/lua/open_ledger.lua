-- Mark a new ledger, so that one that was emptied is noticed; and see whether the server may evict keys.
call('HSETNX', ACCOUNTS, '', arg[1])
local info = redis.pcall('INFO', 'memory')
local policy = type(info) == 'string' and string.match(info, 'maxmemory_policy:([%w-]+)') or ''
return {call('HGET', ACCOUNTS, ''), policy}
