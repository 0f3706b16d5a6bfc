-- What every script of the queue begins with; docs/redis.md describes the keys.
-- ARGV[1]: the prefix of all keys. ARGV[2]: the channel of the news. ARGV[3]: the time in
-- milliseconds since 1970, or nothing for the server's own.
local call, format = redis.call, string.format
local Q = ARGV[1] .. 'queue:'
local micros
if ARGV[3] ~= '' then
  micros = tonumber(ARGV[3]) * 1000
else
  local t = call('TIME')
  micros = tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local now = math.floor(micros / 1000)

-- Numbers grow with every job and every lease. They also keep up with the clock, so that a server
-- that lost its memory does not give one again. 16 digits: larger ones a double does not tell apart.
local function number()
  local last = tonumber(call('GET', Q .. 'number') or '0')
  local text = format('%016.0f', math.max(last + 1, micros))
  call('SET', Q .. 'number', text)
  return text
end

-- A count that is no longer there once it is down to nothing.
local function bump(key, field, by)
  if call('HINCRBY', key, field, by) <= 0 then
    call('HDEL', key, field)
  end
end

local function key_of(build)
  return Q .. 'job:' .. build
end

local function read(build)
  local key = key_of(build)
  local all = call('HMGET', key, 'owner', 'priority', 'shape', 'age', 'not_before', 'state',
    'token', 'holder')
  if not all[1] then
    return nil
  end
  return { build = build, key = key, owner = all[1], priority = all[2], shape = all[3],
    age = all[4], not_before = all[5], state = all[6], token = all[7], holder = all[8] }
end

local function shape_of(id)
  return cjson.decode(call('HGET', Q .. 'shape:texts', id))
end

local function lane(owner, shape)
  return Q .. 'lane:' .. shape .. ':' .. owner
end

-- Sorts by priority, the highest first, then by age.
local function member(job)
  return format('%010.0f', 2147483647 - tonumber(job.priority)) .. job.age .. job.build
end

-- Brings what is known of the first job of a lane up to date.
local function head(owner, shape)
  local firsts, lanes = Q .. 'firsts:' .. owner, Q .. 'lanes:' .. owner
  local heads = Q .. 'heads:' .. shape
  local first = call('ZRANGE', lane(owner, shape), 0, 0)[1]
  local old = call('HGET', firsts, shape)
  if first and string.sub(first, 1, 26) == old then
    return
  end
  if old then
    call('ZREM', lanes, old .. shape)
  end
  if first then
    first = string.sub(first, 1, 26)
    call('HSET', firsts, shape, first)
    call('ZADD', lanes, 0, first .. shape)
    call('ZADD', heads, string.sub(first, 11), owner)
    call('SADD', Q .. 'waiting', owner)
  else
    call('HDEL', firsts, shape)
    call('ZREM', heads, owner)
    if call('EXISTS', firsts) == 0 then
      call('SREM', Q .. 'waiting', owner)
    end
  end
  local oldest = call('ZRANGE', heads, 0, 0, 'WITHSCORES')[2]
  if oldest then
    call('ZADD', Q .. 'open', oldest, shape)
  else
    call('ZREM', Q .. 'open', shape)
  end
end

-- One lease more or less, for the owner, for the node and for the groups.
local function count(job, by)
  bump(Q .. 'leases', job.owner, by)
  bump(Q .. 'node:' .. job.holder, job.shape, by)
  for group in pairs(shape_of(job.shape).limits or {}) do
    bump(Q .. 'groups', group, by)
  end
end

-- A job is in one of three places: in its lane, among the late ones, or held.
local function leave(job)
  if job.state == 'free' then
    call('ZREM', lane(job.owner, job.shape), member(job))
    head(job.owner, job.shape)
  elseif job.state == 'late' then
    call('ZREM', Q .. 'late', job.build)
  else
    call('ZREM', Q .. 'held', job.build)
    count(job, -1)
  end
end

local function enter(job, state)
  if job.state ~= state then
    call('HSET', job.key, 'state', state)
    job.state = state
  end
  if state == 'free' then
    call('ZADD', lane(job.owner, job.shape), 0, member(job))
    head(job.owner, job.shape)
  elseif state == 'late' then
    call('ZADD', Q .. 'late', job.not_before, job.build)
  end
end

local function wait_its_time(job)
  enter(job, tonumber(job.not_before) > now and 'late' or 'free')
end

local function hold(job, ttl)
  local till = format('%.0f', now + tonumber(ttl))
  if job.state ~= 'held' then
    leave(job)
    enter(job, 'held')
    count(job, 1)
  end
  call('ZADD', Q .. 'held', till, job.build)
  return till
end

local function drop(job)
  leave(job)
  call('DEL', job.key)
  if call('HINCRBY', Q .. 'shape:jobs', job.shape, -1) <= 0 then
    local text = call('HGET', Q .. 'shape:texts', job.shape)
    call('HDEL', Q .. 'shape:jobs', job.shape)
    call('HDEL', Q .. 'shape:texts', job.shape)
    call('HDEL', Q .. 'shape:ids', text)
  end
end

local function tell()
  call('PUBLISH', ARGV[2], 'q')
end
