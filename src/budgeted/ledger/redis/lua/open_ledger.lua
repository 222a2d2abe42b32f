-- Mark a new ledger, so that one that was emptied is noticed; and see whether the server may evict keys, or lose them.
call('HSETNX', ACCOUNTS, '', mark)

local function told(section, pattern)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, pattern) or ''
end

local appends = told('persistence', 'aof_enabled:(%d)') == '1'
return {call('HGET', ACCOUNTS, ''), told('memory', 'maxmemory_policy:([%w-]+)'), appends and 1 or 0}
