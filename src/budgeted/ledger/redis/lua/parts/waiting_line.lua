-- Processes whose calls wait for room on an account, in the order in which they came; the first is told when there may be
-- some. Few calls wait, so that it is defined where one does. What goes wrong here is left: who waits looks itself, too.

local WAITING = project .. ':waiting' -- hash: account -> processes that wait for it and listen to their channels

local function waiting_line()
  local it = {}

  local function line_of(name)
    local raw = call('HGET', WAITING, name)
    return raw and decode(raw) or {}
  end

  local function keep(name, line)
    if line[1] then
      redis.pcall('HSET', WAITING, name, encode(line))
    else
      call('HDEL', WAITING, name)
    end
  end

  local function place_in(line)
    for i, one in ipairs(line) do
      if one == process then
        return i
      end
    end
  end

  -- This process waits for an account from now on; if it does already, it keeps its place.
  function it.join(name)
    local line = line_of(name)
    if not place_in(line) then
      line[#line + 1] = process
      keep(name, line)
    end
  end

  -- Tell the first that there may be room. Those that do not listen any more are left out.
  function it.tell(name)
    local line = line_of(name)
    local before = #line
    while line[1] do
      local heard = redis.pcall('PUBLISH', project .. ':turn:' .. line[1], name)
      if type(heard) == 'number' and heard > 0 then
        break
      end
      table.remove(line, 1)
    end
    if #line < before then
      keep(name, line)
    end
  end

  -- This process has had its turn: the next one is told, and it lines up again behind the others.
  function it.pass_on(names)
    for _, name in ipairs(names) do
      local line = line_of(name)
      local place = place_in(line)
      if place then
        table.remove(line, place)
        line[#line + 1] = process
        keep(name, line)
        it.tell(name)
      end
    end
  end

  -- No call of this process waits for an account any more: the next one is told.
  function it.leave(name)
    local line = line_of(name)
    local place = place_in(line)
    if place then
      table.remove(line, place)
      keep(name, line)
      it.tell(name)
    end
  end

  return it
end

-- There may be room on the accounts of these legs, as routes have them.
local function tell_waiting(legs)
  if call('EXISTS', WAITING) == 1 then
    local line = waiting_line()
    for _, leg in ipairs(legs) do
      line.tell(leg[1])
    end
  end
end
