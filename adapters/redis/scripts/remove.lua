-- ARGV[4]: build.
local job = read(ARGV[4])
if not job then
  return 0
end
drop(job)
tell()
return 1
