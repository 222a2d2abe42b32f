-- What the verbs share. KEYS[1] is "budgeted:{project}": every key begins with it, so that all are in one slot of a
-- cluster. Names of users are values and fields, never parts of keys. ARGV[1] are the arguments, as MessagePack: JSON in
-- here would cut integers to 14 digits. Numbers are doubles: every integer that decides is below 2^53. The first three
-- are of every verb: the mark that the ledger bore when it was opened, the process that asks, and how many of its verbs
-- it knows to be done.
--
-- A script that fails keeps what it has written, so everything is looked at before the first write, and the first write
-- is one that a server without memory refuses.

local call = redis.call
local encode, decode = cmsgpack.pack, cmsgpack.unpack
local project = KEYS[1]
local ACCOUNTS = project .. ':accounts'   -- hash: account -> record; '' -> the ledger's mark; COUNT -> a number of verbs
local HOLDS = project .. ':holds'         -- hash: id -> hold
local OWNERS = project .. ':owners'       -- sorted set: process -> when its lease runs out, in milliseconds
local UNCERTAIN = project .. ':uncertain' -- hash: id -> ended hold that nobody has confirmed, for ever
local LATEST = project .. ':latest'       -- hash: id -> ended hold, of whatever kind; false if it was released before it came
local BEFORE = project .. ':before'       -- the same, from before LATEST was full
local OPEN = project .. ':open:'          -- and the owner: hash: id -> when it was opened

-- The fields of records. They are arrays, in the order of the structs in Python.
local ID = 1
local VERSION, EXPLICIT, SLOTS, USD, TOKENS, CALLS, HELD, MODELS_SINCE = 2, 3, 4, 5, 6, 7, 8, 9 -- of an account
local BELONGS_TO, STOPPED = 10, 11                                                              -- where either is
local UNIT, AMOUNT, START, END, SLOT_SPENT, SLOT_HELD, SLOT_SINCE = 2, 3, 4, 5, 6, 7, 8         -- of a slot
local TERMS = 9                                                                                 -- where there are
local AT, GRANTED, HOLD_USD, HOLD_TOKENS, GUESS, OWNER, HOLD_ROUTE = 2, 3, 4, 5, 6, 7, 8        -- of a hold
local OUTPUT, WITHIN, DRAWN = 9, 10, 11                                                         -- of few holds
local OPENED, ENDED_HELD, ENDED_ROUTE, USED, ENDED_AT, REASON = 2, 3, 4, 5, 6, 7                -- of an ended hold
local DAY, PROVIDER, MODEL, LEGS = 1, 2, 3, 4                                                   -- of a route

local arg = decode(ARGV[1])
local mark, process, done = arg[1], arg[2], arg[3]
local COUNT = ':' .. (process or '') -- as no account is called

-- The ledger's mark, how many verbs of this process it has done, and the records of accounts, read in one step: false
-- where there is none. Of another ledger, or an older state than this process knows, nothing is told or decided: nil, and
-- the reply that says so.
local function look(names)
  local found = call('HMGET', ACCOUNTS, '', COUNT, unpack(names))
  if found[1] ~= mark then
    return nil, redis.error_reply('GONE the balances are not those that were opened')
  end
  found[2] = tonumber(found[2] or 0)
  if found[2] < done then
    return nil, redis.error_reply('BACK ' .. found[2] .. ' verbs of this process were done in this state')
  end
  return found
end

local function slot_of(account, limit)
  for _, slot in ipairs(account[SLOTS]) do
    if slot[1] == limit then
      return slot
    end
  end
end

local function milliseconds()
  local now = call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end
