-- Charges that no hold came before are known by their ids for long: who was cut off, or died, may post them again weeks
-- later. An owner's are numbered, and take a bit each.

local IDS_OF_A_KEY = 4096
local POSTED_SECONDS = 2592000 -- 30 days from the last one on

-- Where a charge is noted: a key and a bit; or a key of its own, if its id is no owner's number.
local function note_of(id)
  local owner, number = string.match(id, '^([^.]+)%.([1-9]%d*)$')
  if not number or #number > 15 then
    return ONCE .. id
  end
  number = tonumber(number)
  return POSTED .. owner .. ':' .. string.format('%d', math.floor(number / IDS_OF_A_KEY)), number % IDS_OF_A_KEY
end

local function was_posted(id)
  local key, bit = note_of(id)
  if call('EXISTS', ONCE .. id) == 1 then
    return true
  end
  return bit ~= nil and call('GETBIT', key, bit) == 1
end

local function note_posted(id)
  local key, bit = note_of(id)
  if bit then
    call('SETBIT', key, bit, 1)
    call('EXPIRE', key, POSTED_SECONDS)
  else
    call('SET', key, '', 'EX', POSTED_SECONDS)
  end
end
