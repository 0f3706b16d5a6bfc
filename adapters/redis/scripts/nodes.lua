-- ARGV[1]: prefix. Both hashes as they are at one moment.
return { redis.call('HGETALL', ARGV[1] .. 'nodes'), redis.call('HGETALL', ARGV[1] .. 'nodes:seen') }
