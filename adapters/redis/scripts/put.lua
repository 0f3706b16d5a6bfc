-- ARGV[1..5]: prefix, build, place of the journal, summary (JSON), its place in every set. What
-- follows are the names of the sets it belongs to.
local call = redis.call
local I = ARGV[1] .. 'index:'
local key, place = I .. 'build:' .. ARGV[2], ARGV[5]
local old = call('HMGET', key, 'seq', 'place', 'sets')
if old[1] and tonumber(old[1]) > tonumber(ARGV[3]) then
  return 0
end
local now, sets = {}, {}
for i = 6, #ARGV do
  now[ARGV[i]] = true
  sets[#sets + 1] = ARGV[i]
end
local before = {}
for _, set in ipairs(old[3] and cjson.decode(old[3]) or {}) do
  before[set] = true
  if not now[set] or old[2] ~= place then
    call('ZREM', I .. set, old[2])
  end
end
for _, set in ipairs(sets) do
  if not before[set] or old[2] ~= place then
    call('ZADD', I .. set, 0, place)
  end
end
call('ZADD', I .. 'ids', 0, ARGV[2])
call('HSET', key, 'seq', ARGV[3], 'summary', ARGV[4], 'place', place, 'sets', cjson.encode(sets))
return 1
