-- ARGV[1..8]: prefix, channel, message, build, where the log has to end, where it ends then, how many
-- bytes of output come, how many a log may hold. What follows are pieces: their offset, what they hold.
-- A word comes back, and where the log ends.
local call = redis.call
local state = ARGV[1] .. 'log:' .. ARGV[4] .. ':state'
local pieces = ARGV[1] .. 'log:' .. ARGV[4]
local old = call('HMGET', state, 'end', 'bytes', 'closed')
local last = old[1] or '0'
if old[3] then
  return { 'closed', last }
end
if last ~= ARGV[5] then
  return { 'elsewhere', last }
end
local bytes = tonumber(old[2] or '0') + tonumber(ARGV[7])
if tonumber(ARGV[7]) > 0 and bytes > tonumber(ARGV[8]) then
  return { 'full', last }
end
if #ARGV > 8 then
  for i = 9, #ARGV, 2 do
    call('XADD', pieces, ARGV[i] .. '-1', 'r', ARGV[i + 1])
  end
  call('HSET', state, 'end', ARGV[6], 'bytes', string.format('%.0f', bytes))
  call('PUBLISH', ARGV[2], ARGV[3])
end
return { 'kept', ARGV[6] }
