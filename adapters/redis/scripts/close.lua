-- ARGV[1..4]: prefix, channel, message, build.
redis.call('HSET', ARGV[1] .. 'log:' .. ARGV[4] .. ':state', 'closed', '1')
redis.call('PUBLISH', ARGV[2], ARGV[3])
