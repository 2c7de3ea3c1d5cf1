-- Asks the owner of a partition to retry or skip parked events. One that is no longer parked is left out: a request for
-- it would stay for ever.
-- KEYS[1] is the prefix (engine.lua), ARGV[1] what is wanted, and behind it come the numbers. Answers how many were asked.
local count = 0
for i = 2, #ARGV do
  local row = KEYS[1] .. ':parked:' .. ARGV[i]
  if redis.call('EXISTS', row) == 1 then
    redis.call('HSET', row, 'wanted', ARGV[1])
    redis.call('SADD', KEYS[1] .. ':wanted', ARGV[i])
    count = count + 1
  end
end
return count
