-- ARGV[1..4]: prefix, channel, message, build.
redis.call('UNLINK', ARGV[1] .. 'log:' .. ARGV[4], ARGV[1] .. 'log:' .. ARGV[4] .. ':state')
redis.call('PUBLISH', ARGV[2], ARGV[3])
