-- The keys, and the steps, that a hold does without: what it defines, it pays for.

local NAMES = project .. ':names'   -- sorted set of accounts, all of score 0
local MODELS = project .. ':models' -- hash: account -> nano-USD by model
local GONE = project .. ':gone'     -- set of deleted accounts that holds were open for
local DAYS = project .. ':days'     -- sorted set of the days that have rows
local ROWS = project .. ':rows:'    -- and the day: hash: account -> its rows
local FORGOTTEN = project .. ':forgotten' -- sorted set: process -> since when it has not been heard of, in milliseconds
local POSTED = project .. ':posted:' -- and a process, and a number: bits of the charges that it posted
local SWEPT = project .. ':swept:' -- and a hold's id, for a while: it was dropped without a charge, as nobody ended it
local ONCE = project .. ':once:'    -- and what is done once: its answer, for a while

local function save(account)
  call('HSET', ACCOUNTS, account[ID], encode(account))
end

local function read(key, field)
  local raw = call('HGET', key, field)
  return raw and decode(raw)
end

local function ended(id)
  return read(UNCERTAIN, id) or read(LATEST, id) or read(BEFORE, id)
end
