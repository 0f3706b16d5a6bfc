-- ARGV[1..6]: prefix, channel, message, build, where the journal has to end, and whether it is over
-- then. What follows are the events. Whether they are stored comes
-- back, and where the journal ends.
local call = redis.call
local key, open = ARGV[1] .. 'journal:' .. ARGV[4], ARGV[1] .. 'unfinished'
local last = call('LLEN', key)
if last ~= tonumber(ARGV[5]) then
  return { 0, last }
end
-- A call takes some thousands of arguments and no more.
for from = 7, #ARGV, 1000 do
  last = call('RPUSH', key, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
if #ARGV > 6 then
  call(ARGV[6] == '1' and 'SREM' or 'SADD', open, ARGV[4])
  call('PUBLISH', ARGV[2], ARGV[3])
end
return { 1, last }
