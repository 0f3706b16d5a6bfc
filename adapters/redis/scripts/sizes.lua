-- ARGV[1]: prefix. What follows are sets of the index; their sizes come back.
local sizes = {}
for i = 2, #ARGV do
  sizes[i - 1] = redis.call('ZCARD', ARGV[1] .. 'index:' .. ARGV[i])
end
return sizes
