-- ARGV[4..8]: build, owner, priority, shape, not before.
local build, owner, priority, text, not_before = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local key = key_of(build)
if call('EXISTS', key) == 1 then
  return 0
end
local shape = call('HGET', Q .. 'shape:ids', text)
if not shape then
  shape = format('%.0f', call('INCR', Q .. 'shape:last'))
  call('HSET', Q .. 'shape:ids', text, shape)
  call('HSET', Q .. 'shape:texts', shape, text)
end
call('HINCRBY', Q .. 'shape:jobs', shape, 1)
local job = { build = build, key = key, owner = owner, priority = priority, shape = shape,
  age = number(), not_before = not_before }
call('HSET', key, 'owner', owner, 'priority', priority, 'shape', shape, 'age', job.age,
  'not_before', not_before)
wait_its_time(job)
tell()
return 1
