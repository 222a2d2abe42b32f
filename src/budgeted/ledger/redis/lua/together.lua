-- Several calls' verbs in one step, in the order in which they came, each with an answer of its own: as if they had come
-- one by one. One that fails has changed nothing, and stops no other.
local answers = {}
for i, one in ipairs(arg[5]) do
  local done, answer = pcall(verbs[one[1]], one)
  if not done and type(answer) ~= 'table' then
    answer = redis.error_reply(answer)
  end
  answers[i] = answer
end
return answers
