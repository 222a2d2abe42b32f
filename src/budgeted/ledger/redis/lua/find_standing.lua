-- Which ledger this is, and how many verbs of a process it has done.
local found = call('HMGET', ACCOUNTS, '', COUNT)
return {found[1], tonumber(found[2] or 0)}
