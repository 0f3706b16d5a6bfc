-- ARGV[4..6]: build, token, time to live in milliseconds.
local job = read(ARGV[4])
if not job or job.token ~= ARGV[5] then
  return false
end
return hold(job, ARGV[6])
