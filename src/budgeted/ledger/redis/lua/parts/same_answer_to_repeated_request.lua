-- Verbs that have no hold's id bear one of their own, so that a repetition gets the answer of the first time: how many
-- verbs were done with it, and what came of it.

local function once(token, verb)
  local before = call('GET', ONCE .. token)
  if before then
    return before
  end
  local count = process and call('HINCRBY', ACCOUNTS, COUNT, 1) or 0
  local answer = encode({count, verb()})
  call('SET', ONCE .. token, answer, 'EX', 600)
  return answer
end
