-- ARGV[1..4]: prefix, build, from which offset, about how many bytes. Where the log ends comes back,
-- whether it is closed, and then pieces, the first of which holds that offset: their offset, what
-- they hold.
local call = redis.call
local pieces = ARGV[1] .. 'log:' .. ARGV[2]
local from, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local state = call('HMGET', pieces .. ':state', 'end', 'closed')
local page = { state[1] or '0', state[2] and 1 or 0 }
if from >= tonumber(page[1]) then
  return page
end
local function offset(id)
  return string.match(id, '^%d+')
end
-- What of the first piece is before that offset does not count.
local first = call('XREVRANGE', pieces, ARGV[3] .. '-1', '-', 'COUNT', 1)
local bytes = first[1] and tonumber(offset(first[1][1])) - from or 0
local some = first
while #some > 0 do
  local last
  for _, piece in ipairs(some) do
    last = piece[1]
    page[#page + 1] = offset(last)
    page[#page + 1] = piece[2][2]
    bytes = bytes + #piece[2][2]
  end
  if bytes >= most then
    break
  end
  -- About as many as are still missing, if they are like the last one.
  local many = math.ceil((most - bytes) / #page[#page])
  some = call('XRANGE', pieces, '(' .. last, '+', 'COUNT', math.max(1, math.min(many, 256)))
end
return page
