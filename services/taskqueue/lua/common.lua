-- Shared by every script: the loader puts this between a script's shebang and its body.
--
-- KEYS[1]  the queue's prefix, `tq:{<queue>}:`. Every other key is made from it. Redis Cluster
--          asks for keys to be declared so that it can route a call; the braces put every key
--          of a queue into the slot of KEYS[1], so keys computed here are always in reach.
-- ARGV[1]  now in microseconds since 1970, or '' for Redis' own clock (tests move time).
local PREFIX = KEYS[1]
local READY = PREFIX .. 'ready:1'         -- LIST of ids that wait; taken from the left
local SCHEDULED = PREFIX .. 'scheduled'   -- ZSET id -> due, µs
local RUNNING = PREFIX .. 'running'       -- ZSET id -> end of the lease, µs; all that is in flight
local DONE = PREFIX .. 'done'             -- ZSET id -> finished, µs
local DEAD = PREFIX .. 'dead'             -- ZSET id -> finished, µs
local INDEX = PREFIX .. 'index'           -- ZSET of all ids, score 0: uuid7 sorts by time
local COUNTERS = PREFIX .. 'counters'     -- HASH of totals since the queue began
local WAKE = PREFIX .. 'wake'             -- LIST of tokens that idle workers block on
local WAITING = PREFIX .. 'waiting'       -- ZSET worker -> until when it waits, µs
local WORKERS = PREFIX .. 'workers'       -- ZSET worker -> last seen, µs

local function task_key(id)
  return PREFIX .. 'task:' .. id
end

local function worker_key(worker)
  return PREFIX .. 'worker:' .. worker
end

-- Lua prints large numbers as 1.8e+15; Redis must get whole digits.
local function digits(number)
  return string.format('%.0f', number)
end

local function clock()
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1])
  end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Wakes as many waiting workers as there is work for. Tokens stand apart from tasks and never
-- exceed the waiters, so a token that dies with its holder costs a reap tick, never a task.
local function wake(now)
  local waiting = redis.call('ZCARD', WAITING)
  if waiting == 0 then
    return
  end
  if redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', digits(now)) > 0 then
    waiting = redis.call('ZCARD', WAITING)
  end
  local missing = math.min(waiting, redis.call('LLEN', READY)) - redis.call('LLEN', WAKE)
  for _ = 1, missing do
    redis.call('RPUSH', WAKE, '1')
  end
end

-- Whether this claim of the task is still the one that holds it.
local function holds(id, epoch)
  local held = redis.call('HMGET', task_key(id), 's', 'e')
  return held[1] == 'processing' and held[2] == epoch
end

-- Puts tasks (first of the list first) back at the head of the queue.
local function requeue(ids, now)
  for i = #ids, 1, -1 do
    redis.call('HSET', task_key(ids[i]), 's', 'queued', 'u', digits(now))
    redis.call('ZREM', RUNNING, ids[i])
    redis.call('LPUSH', READY, ids[i])
  end
end

-- scheduled -> queued, for what is due; at most 100 a call keeps every script short.
local function promote(now)
  local due = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', digits(now), 'LIMIT', 0, 100)
  if #due == 0 then
    return
  end
  redis.call('ZREM', SCHEDULED, unpack(due))
  for _, id in ipairs(due) do
    redis.call('HSET', task_key(id), 's', 'queued', 'u', digits(now))
  end
  redis.call('RPUSH', READY, unpack(due))
end
