-- ARGV[4..9]: node, its labels (JSON), slots, thousandths of a processor, bytes of memory, time to
-- live in milliseconds. A lease comes back, or in how many milliseconds to look again.
-- ARGV[10]: until when that is wanted, or nothing. A server that stood still does on waking what it
-- was asked before, and by then leases have lapsed whose holders could not renew them.
if ARGV[10] ~= '' and now > tonumber(ARGV[10]) then
  return { 'late' }
end

local node, labels = ARGV[4], cjson.decode(ARGV[5])
local slots, cpu, memory = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

-- How many jobs become free in one go: a bound for how long everybody else has to wait.
local WAKES = 1000
-- How many owners are looked at together.
local SOME = 32

local function wake(set)
  for _, build in ipairs(call('ZRANGE', Q .. set, '-inf', now, 'BYSCORE', 'LIMIT', 0, WAKES)) do
    local job = read(build)
    if job then
      leave(job)
      enter(job, 'free')
    else
      -- Nobody of ours leaves such a thing behind; it is to hold up nobody.
      call('ZREM', Q .. set, build)
    end
  end
end

local function again()
  local first
  for _, set in ipairs({ 'held', 'late' }) do
    local at = tonumber(call('ZRANGE', Q .. set, 0, 0, 'WITHSCORES')[2])
    if at and (not first or at < first) then
      first = at
    end
  end
  return first and { format('%.0f', math.max(first - now, 0)) } or {}
end

-- What the node's leases leave free. What it has 0 of it does not limit.
local function left()
  local held = call('HGETALL', Q .. 'node:' .. node)
  cpu = cpu == 0 and math.huge or cpu
  memory = memory == 0 and math.huge or memory
  for i = 1, #held, 2 do
    local asks, many = shape_of(held[i]).resources or {}, tonumber(held[i + 1])
    slots = slots - many
    cpu = cpu - many * (asks.cpu_millis or 0)
    memory = memory - many * (asks.memory_bytes or 0)
  end
  cpu, memory = math.max(cpu, 0), math.max(memory, 0)
  return slots > 0
end

local function fits(shape)
  local asks = shape.resources or {}
  if (shape.node and shape.node ~= node) or (asks.cpu_millis or 0) > cpu
    or (asks.memory_bytes or 0) > memory then
    return false
  end
  for key, value in pairs(shape.labels or {}) do
    if labels[key] ~= value then
      return false
    end
  end
  for group, most in pairs(shape.limits or {}) do
    if tonumber(call('HGET', Q .. 'groups', group) or '0') >= most then
      return false
    end
  end
  return true
end

-- Whether a shape fits, which is found out once.
local known = {}
local function suits(id)
  if known[id] == nil then
    known[id] = fits(shape_of(id))
  end
  return known[id]
end

-- A walk through a sorted set by its scores.
local function walk(set)
  return { set = set, read = 0, at = 1, some = {} }
end

-- What is next on a walk, and its score.
local function next_of(row)
  if row.at > #row.some and not row.over then
    row.some = call('ZRANGE', row.set, row.read, row.read + SOME - 1, 'WITHSCORES')
    row.at, row.read, row.over = 1, row.read + SOME, #row.some == 0
  end
  return row.some[row.at], tonumber(row.some[row.at + 1])
end

-- The first job of an owner that fits.
local function best_of(owner)
  local from = 0
  while true do
    local some = call('ZRANGE', Q .. 'lanes:' .. owner, from, from + SOME - 1)
    for _, first in ipairs(some) do
      local id = string.sub(first, 27)
      if suits(id) then
        return call('ZRANGE', lane(owner, id), 0, 0)[1]
      end
    end
    if #some < SOME then
      return nil
    end
    from = from + SOME
  end
end

-- Whose turn it is: the owner with the fewest leases, and of those the one whose next job is the
-- oldest. Shapes come by the age of their oldest first job, and owners of a shape by that of theirs,
-- which is no younger than their next one. So nobody after an owner without leases needs a look, and
-- nothing once all owners had theirs.
local function pick()
  local shapes, rows = walk(Q .. 'open'), {}
  local seen, unseen, turn = {}, call('SCARD', Q .. 'waiting'), nil
  while unseen > 0 do
    local id, soonest = next_of(shapes)
    local row, owner
    for _, other in ipairs(rows) do
      local o, age = next_of(other)
      if o and (not soonest or age < soonest) then
        row, owner, soonest = other, o, age
      end
    end
    if not soonest or (turn and turn.leases == 0 and turn.age <= soonest) then
      break
    end
    if not row then
      shapes.at = shapes.at + 2
      if suits(id) then
        rows[#rows + 1] = walk(Q .. 'heads:' .. id)
      end
    else
      row.at = row.at + 2
      local leases = not seen[owner] and tonumber(call('HGET', Q .. 'leases', owner) or '0')
      if leases and (not turn or leases <= turn.leases) then
        local best = best_of(owner)
        local age = tonumber(string.sub(best, 11, 26))
        if not turn or leases < turn.leases or age < turn.age then
          turn = { leases = leases, age = age, build = string.sub(best, 27) }
        end
      end
      unseen = unseen - (seen[owner] and 0 or 1)
      seen[owner] = true
    end
  end
  return turn and turn.build
end

wake('held')
wake('late')
local build = left() and pick()
if not build then
  return again()
end
local job = read(build)
job.token, job.holder = number(), node
call('HSET', job.key, 'token', job.token, 'holder', node)
local till = hold(job, ARGV[9])
return { job.build, job.owner, job.priority, call('HGET', Q .. 'shape:texts', job.shape),
  job.not_before, job.token, till }
