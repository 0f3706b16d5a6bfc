-- ARGV[1..2]: prefix, node.
redis.call('HDEL', ARGV[1] .. 'nodes', ARGV[2])
redis.call('HDEL', ARGV[1] .. 'nodes:seen', ARGV[2])
