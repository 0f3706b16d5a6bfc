-- ARGV[1]: prefix. What follows are builds; their summaries come back.
local found = {}
for i = 2, #ARGV do
  found[i - 1] = redis.call('HGET', ARGV[1] .. 'index:build:' .. ARGV[i], 'summary')
end
return found
