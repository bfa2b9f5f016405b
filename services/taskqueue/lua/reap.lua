#!lua flags=allow-oom
-- The queue's housekeeping, called by every worker at least once a second.
-- Transitions: processing -> queued (lease over), or failed (its workers were lost too often, or
-- its type runs at most once), or cancelled or (nothing) if that was asked for; scheduled -> queued
-- (due); completed | failed | cancelled -> (nothing).
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  worker
-- ARGV[3]  lease, µs
-- ARGV[4]  gap, µs: when no one reaped for longer than this, Redis (or every worker) was away, and
--          holders could not renew: each gets a full lease before anything is taken back
-- ARGV[5]  how long a worker may be silent before it is forgotten, µs
-- ARGV[6]  how many lost workers make a task fail; the last time it runs alone. 0: no limit
-- ARGV[7]  after how long a waiting task moves up a priority, µs (to the highest: twice that)
-- ARGV[8]  msgpack: {completed: [age, µs; count], failed: ..., cancelled: ...}: what is kept of each;
--          count 0: no limit
-- ARGV[9]  what the worker tells of itself (JSON)
-- Returns  {ids taken back, 1 if there is more to do at once else 0, µs until the next lease or
--           delay ends, or -1, ids in flight that were asked to stop}
local BATCH = 100
local AGED = 2
local now = clock()
local stamp = digits(now)
local kills_limit = tonumber(ARGV[6])

local before = redis.call('HGET', COUNTERS, 'reaped_at')
redis.call('HSET', COUNTERS, 'reaped_at', stamp)
if before and now - tonumber(before) > tonumber(ARGV[4]) then
  local full = digits(now + tonumber(ARGV[3]))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', RUNNING, '-inf', full)) do
    redis.call('ZADD', RUNNING, full, id)
  end
end

-- A lost worker blames all that it held. What was there once too often runs alone; only what kills
-- a worker that ran nothing beside it is the culprit.
local function take_back(id)
  redis.call('ZREM', RUNNING, id)
  if not lost_attempt(id, stamp) then
    return
  end
  local kills = redis.call('HINCRBY', task_key(id), 'k', 1)
  if kills_limit > 0 and kills >= kills_limit and (kills_limit == 1 or ran_alone(id)) then
    local words = '{"error":"its worker was lost %d times while it ran","code":"poison"}'
    finish(id, 'failed', stamp, string.format(words, kills))
    redis.call('HINCRBY', COUNTERS, 'poisoned', 1)
  elseif kills_limit > 1 and kills >= kills_limit - 1 then
    queue_suspect(id, stamp, 'RPUSH')
  else
    queue_task(id, stamp, 'LPUSH')
  end
end

local late = redis.call('ZRANGEBYSCORE', RUNNING, '-inf', stamp, 'LIMIT', 0, BATCH)
for i = #late, 1, -1 do -- the first goes to the head last
  take_back(late[i])
end
if #late > 0 then
  redis.call('HINCRBY', COUNTERS, 'reaped', #late)
end
promote(now)

-- What waited long moves to the tail of the next higher priority, so that no task starves; only
-- a few a call, as a long backlog would else bury what really is urgent.
local function age(from, to, limit)
  for _ = 1, AGED do
    local id = redis.call('LINDEX', from, 0)
    local task = id and redis.call('HMGET', task_key(id), 'u', 'c')
    if not id or tonumber(task[1] or task[2] or 0) > limit then
      return
    end
    redis.call('LMOVE', from, to, 'LEFT', 'RIGHT')
  end
end
age(ready_key('1'), ready_key('0'), now - 2 * tonumber(ARGV[7]))
age(ready_key('2'), ready_key('1'), now - tonumber(ARGV[7]))
if waiting_tasks() == 0 then
  redis.call('HDEL', COUNTERS, 'tombstones')
end
if redis.call('LLEN', SUSPECTS) == 0 then
  redis.call('HDEL', CONTROL, 'isolator', 'isolator_until', 'isolator_span')
end

local removed = 0
local function forget(finished, ids)
  if #ids == 0 then
    return
  end
  removed = removed + #ids
  redis.call('ZREM', finished, unpack(ids))
  redis.call('ZREM', INDEX, unpack(ids))
  for i, id in ipairs(ids) do
    ids[i] = task_key(id)
  end
  redis.call('UNLINK', unpack(ids))
end
for status, kept in pairs(cmsgpack.unpack(ARGV[8])) do
  local finished = FINISHED[status]
  local limit = '(' .. digits(now - kept[1])
  forget(finished, redis.call('ZRANGEBYSCORE', finished, '-inf', limit, 'LIMIT', 0, BATCH))
  local excess = kept[2] > 0 and redis.call('ZCARD', finished) - kept[2] or 0
  if excess > 0 then
    forget(finished, redis.call('ZRANGE', finished, 0, math.min(excess, BATCH) - 1))
  end
end

redis.call('ZADD', WORKERS, stamp, ARGV[2])
redis.call('HSET', worker_key(ARGV[2]), 'about', ARGV[9])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', digits(now - tonumber(ARGV[5])), 'LIMIT', 0, BATCH)) do
  redis.call('ZREM', WORKERS, gone)
  stop_waiting(gone)
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
-- A worker of an earlier version that ends a task leaves its id in CANCELLING.
local asked = {}
for _, id in ipairs(redis.call('SRANDMEMBER', CANCELLING, BATCH)) do
  if redis.call('HGET', task_key(id), 's') == 'processing' then
    asked[#asked + 1] = id
  else
    redis.call('SREM', CANCELLING, id)
    redis.call('HDEL', task_key(id), 'z')
  end
end
local more = (#late == BATCH or removed >= BATCH) and 1 or 0
return { late, more, next_due, asked }
