-- Holds that set aside what the calls of a block hold, and those calls' holds, which draw on them: as
-- budgeted.ledger.memory.reservations. Few calls need any of it, so it is defined where one does. A reservation is a hold
-- that is within itself.

local function reservations()
  local it = {}

  -- What is held of each unit. Of a hold that nobody knows more of, all tokens may be of one kind.
  function it.parts_of(hold)
    local usd, tokens, output = hold[HOLD_USD], hold[HOLD_TOKENS], hold[OUTPUT]
    if not output then
      return {usd, tokens, 1, tokens, tokens}
    end
    if hold[WITHIN] == hold[ID] then
      return {usd, tokens, 0, 0, 0}
    end
    return {usd, tokens, 1, tokens - output, output}
  end

  -- The one of that name that is open.
  function it.find(id)
    local raw = id and id ~= '' and call('HGET', HOLDS, id)
    local hold = raw and decode(raw)
    return hold and hold[WITHIN] == id and hold
  end

  -- Count on one of its accounts by how much what is held for it grows.
  function it.count(account, around, more)
    for _, leg in ipairs(around[HOLD_ROUTE][LEGS]) do
      if leg[1] == account[ID] then
        account[HELD] = account[HELD] + more[1]
        for _, place in ipairs(leg[2]) do
          local slot = slot_of(account, place[1])
          if slot and slot[START] == place[2] then
            slot[SLOT_HELD] = slot[SLOT_HELD] + (more[slot[UNIT] + 1] or 0)
          end
        end
      end
    end
  end

  -- Take nano-USD and tokens out of one; less than nothing gives back. Returns by how much what is held for it grows.
  function it.draw(around, usd, tokens)
    local before_usd, before_tokens = around[HOLD_USD], around[HOLD_TOKENS]
    around[HOLD_USD], around[HOLD_TOKENS] = math.max(0, before_usd - usd), math.max(0, before_tokens - tokens)
    call('HSET', HOLDS, around[ID], encode(around))
    return {around[HOLD_USD] - before_usd, around[HOLD_TOKENS] - before_tokens}
  end

  return it
end
