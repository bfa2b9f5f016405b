#!lua
-- Stores new tasks and queues them. Transitions: (nothing) -> queued | scheduled.
--
-- No allow-oom: a Redis that is full refuses the whole call before its first write.
-- ARGV[2]  msgpack: an array of tasks, each [id, type, data (JSON), extra or nil]. extra is a map:
--          p priority, o options (opaque), at due (µs since 1970), delay (µs from now),
--          k idempotency key (hashed) with b its body (hashed) and ttl (µs),
--          periodic [name, due (µs)]: stored only if that schedule has not fired for `due` yet
-- Returns  per task: 1 stored; 0 that id was stored before (a repeat after a lost reply) or that
--          schedule fired before; -1 refused, the key came with another body; or the id of the
--          task that the same key and body made
local now = clock()
local created = digits(now)
local answer, index = {}, {}
local ready, stored = {}, 0

-- nil if the key is new (it is now taken), else the answer for this task.
local function idempotent(id, extra)
  local key = PREFIX .. 'idem:' .. extra.k
  local known = redis.call('GET', key)
  if known then
    local body, other, ends = string.match(known, '^(%S+) (%S+) (%S+)$')
    if tonumber(ends) > now then
      return body == extra.b and (other == id and 0 or other) or -1
    end
  end
  redis.call('SET', key, extra.b .. ' ' .. id .. ' ' .. digits(now + extra.ttl), 'PX', digits(extra.ttl / 1000))
end

local function fired_before(periodic)
  local key = PREFIX .. 'periodic'
  local last = redis.call('HGET', key, periodic[1])
  if last and tonumber(last) >= periodic[2] then
    return true
  end
  redis.call('HSET', key, periodic[1], digits(periodic[2]))
  return false
end

-- The status of a task with extras once they are stored; nil and the answer if it is not to be.
local function place(id, key, extra)
  if extra.periodic and fired_before(extra.periodic) then
    return nil, 0
  end
  local other = extra.k and idempotent(id, extra)
  if other then
    return nil, other
  end
  if redis.call('EXISTS', key) == 1 then
    return nil, 0
  end
  if extra.p then
    redis.call('HSET', key, 'p', extra.p)
  end
  if extra.o then
    redis.call('HSET', key, 'o', extra.o)
  end
  local due = extra.at or (extra.delay and now + extra.delay)
  if due and due > now then
    redis.call('ZADD', SCHEDULED, digits(due), id)
    return 'scheduled'
  end
  return 'queued'
end

for i, task in ipairs(cmsgpack.unpack(ARGV[2])) do
  local id, extra = task[1], task[4]
  local key = task_key(id)
  local status, refusal
  if extra then
    status, refusal = place(id, key, extra)
  elseif redis.call('EXISTS', key) == 0 then
    status = 'queued'
  end
  if status then
    redis.call('HSET', key, 's', status, 'v', FORM, 't', task[2], 'd', task[3], 'c', created, 'e', '0', 'a', '0')
    index[#index + 1] = '0'
    index[#index + 1] = id
    stored = stored + 1
    if status == 'queued' then
      local list = ready_key(extra and extra.p)
      ready[list] = ready[list] or {}
      table.insert(ready[list], id)
    end
  end
  answer[i] = status and 1 or refusal or 0
end
if stored > 0 then
  redis.call('ZADD', INDEX, unpack(index))
  redis.call('HINCRBY', COUNTERS, 'enqueued', stored)
  for list, ids in pairs(ready) do
    redis.call('RPUSH', list, unpack(ids))
  end
  wake(now)
end
return answer
