-- ARGV[1..3]: prefix, node, when it was seen. A beat that was late on its way says nothing new.
local seen = redis.call('HGET', ARGV[1] .. 'nodes:seen', ARGV[2])
if not seen then
  return 0
end
if tonumber(ARGV[3]) > tonumber(seen) then
  redis.call('HSET', ARGV[1] .. 'nodes:seen', ARGV[2], ARGV[3])
end
return 1
