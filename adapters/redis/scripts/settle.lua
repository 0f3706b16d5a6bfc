-- ARGV[4..6]: build, token, and before when not to lease it again, or nothing if it is over.
local job = read(ARGV[4])
if not job or job.token ~= ARGV[5] then
  return 0
end
if ARGV[6] == '' then
  drop(job)
else
  leave(job)
  call('HDEL', job.key, 'token', 'holder')
  call('HSET', job.key, 'not_before', ARGV[6])
  job.not_before = ARGV[6]
  wait_its_time(job)
end
tell()
return 1
