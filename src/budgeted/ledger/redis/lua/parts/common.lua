-- What the verbs share. KEYS[1] is "budgeted:{project}": every key begins with it, so that all are in one slot of a
-- cluster. Names of users are values and fields, never parts of keys. ARGV[1] is the mark that the ledger bore when it
-- was opened, or empty where a verb looks at it itself, or not at all. ARGV[2] are the arguments, as MessagePack: JSON
-- in here would cut integers to 14 digits. Numbers are doubles: every integer that decides is below 2^53.
--
-- A script that fails keeps what it has written, so everything is looked at before the first write, and the first write
-- is one that a server without memory refuses.

local call = redis.call
local encode, decode = cmsgpack.pack, cmsgpack.unpack
local project = KEYS[1]
local ACCOUNTS = project .. ':accounts'   -- hash: account -> record; '' -> the ledger's mark
local HOLDS = project .. ':holds'         -- hash: id -> hold
local OWNERS = project .. ':owners'       -- sorted set: process -> when its lease runs out, in milliseconds
local UNCERTAIN = project .. ':uncertain' -- hash: id -> ended hold that nobody has confirmed, for ever
local LATEST = project .. ':latest'       -- hash: id -> ended hold, of whatever kind; false if it was released before it came
local BEFORE = project .. ':before'       -- the same, from before LATEST was full
local OPEN = project .. ':open:'          -- and the owner: hash: id -> when it was opened

-- The fields of records. They are arrays, in the order of the structs in Python.
local ID = 1
local VERSION, EXPLICIT, SLOTS, USD, TOKENS, CALLS, HELD, MODELS_SINCE = 2, 3, 4, 5, 6, 7, 8, 9 -- of an account
local UNIT, AMOUNT, START, END, SLOT_SPENT, SLOT_HELD, SLOT_SINCE = 2, 3, 4, 5, 6, 7, 8         -- of a slot
local AT, GRANTED, HOLD_USD, HOLD_TOKENS, GUESS, OWNER, HOLD_ROUTE = 2, 3, 4, 5, 6, 7, 8        -- of a hold
local OPENED, ENDED_HELD, ENDED_ROUTE, USED, ENDED_AT, REASON = 2, 3, 4, 5, 6, 7                -- of an ended hold
local DAY, PROVIDER, MODEL, LEGS = 1, 2, 3, 4                                                   -- of a route

if ARGV[1] ~= '' and call('HGET', ACCOUNTS, '') ~= ARGV[1] then
  return redis.error_reply('GONE the balances are not those that were opened')
end
local arg = decode(ARGV[2])

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
