-- ARGV[1..2]: prefix, build.
local call = redis.call
local I = ARGV[1] .. 'index:'
local key = I .. 'build:' .. ARGV[2]
local old = call('HMGET', key, 'place', 'sets')
for _, set in ipairs(old[2] and cjson.decode(old[2]) or {}) do
  call('ZREM', I .. set, old[1])
end
call('ZREM', I .. 'ids', ARGV[2])
call('DEL', key)
