#!lua flags=allow-oom
-- The queue's housekeeping, called by every worker at least once a second.
-- Transitions: processing -> queued (lease over), scheduled -> queued (due), finished -> (nothing).
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  worker
-- ARGV[3]  lease, µs
-- ARGV[4]  gap, µs: when no one reaped for longer than this, Redis (or every worker) was away, and
--          holders could not renew: each gets a full lease before anything is taken back
-- ARGV[5]  retention of finished tasks, µs
-- ARGV[6]  how long a worker may be silent before it is forgotten, µs
-- Returns  {ids taken back, 1 if there is more to do at once else 0, µs until the next lease or
--           delay ends, or -1}
local BATCH = 100
local now = clock()
local stamp = digits(now)

local before = redis.call('HGET', COUNTERS, 'reaped_at')
redis.call('HSET', COUNTERS, 'reaped_at', stamp)
if before and now - tonumber(before) > tonumber(ARGV[4]) then
  local full = digits(now + tonumber(ARGV[3]))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', RUNNING, '-inf', full)) do
    redis.call('ZADD', RUNNING, full, id)
  end
end

local late = redis.call('ZRANGEBYSCORE', RUNNING, '-inf', stamp, 'LIMIT', 0, BATCH)
requeue(late, now)
if #late > 0 then
  redis.call('HINCRBY', COUNTERS, 'reaped', #late)
end
promote(now)

local forget = '(' .. digits(now - tonumber(ARGV[5]))
local removed = 0
for _, finished in ipairs({ DONE, DEAD }) do
  local old = redis.call('ZRANGEBYSCORE', finished, '-inf', forget, 'LIMIT', 0, BATCH - removed)
  if #old > 0 then
    removed = removed + #old
    redis.call('ZREM', finished, unpack(old))
    redis.call('ZREM', INDEX, unpack(old))
    for _, id in ipairs(old) do
      redis.call('DEL', task_key(id))
    end
  end
end

redis.call('ZADD', WORKERS, stamp, ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', digits(now - tonumber(ARGV[6])), 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', WORKERS, gone)
  redis.call('ZREM', WAITING, gone)
  redis.call('DEL', worker_key(gone))
end
wake(now)

local next_due = -1
for _, timed in ipairs({ RUNNING, SCHEDULED }) do
  local first = redis.call('ZRANGE', timed, 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(tonumber(first[2]) - now, 0)
    next_due = next_due < 0 and wait or math.min(next_due, wait)
  end
end
local more = (#late == BATCH or removed == BATCH) and 1 or 0
return { late, more, next_due }
