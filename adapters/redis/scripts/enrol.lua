-- ARGV[1..4]: prefix, node, what it says of itself (JSON), when it was seen.
redis.call('HSET', ARGV[1] .. 'nodes', ARGV[2], ARGV[3])
redis.call('HSET', ARGV[1] .. 'nodes:seen', ARGV[2], ARGV[4])
