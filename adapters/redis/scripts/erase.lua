-- ARGV[1..4]: prefix, channel, message, build.
redis.call('UNLINK', ARGV[1] .. 'journal:' .. ARGV[4])
redis.call('SREM', ARGV[1] .. 'unfinished', ARGV[4])
redis.call('PUBLISH', ARGV[2], ARGV[3])
