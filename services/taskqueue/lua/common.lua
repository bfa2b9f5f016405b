-- Shared by every script: the loader puts this between a script's shebang and its body.
--
-- KEYS[1]  the queue's prefix, `tq:{<queue>}:`. Every other key is made from it. Redis Cluster
--          asks for keys to be declared so that it can route a call; the braces put every key
--          of a queue into the slot of KEYS[1], so keys computed here are always in reach.
-- ARGV[1]  now in microseconds since 1970, or '' for Redis' own clock (tests move time).
--
-- A task is a HASH `task:<id>`. Always there: v (form), s (status), t (type), d (data), c (created),
-- e (epoch: raised by each claim), a (attempts). Where they apply: u (last change of status),
-- r (result), w (worker of the last claim), p (priority, 1 if absent), o (options, opaque here),
-- k (how often its worker was lost), x (tombstones of it in ready lists), z (asked for while it
-- ran: cancel or purge), h (history, a line an attempt that did not complete), g (progress),
-- n (the epoch of the last claim that ran alone, as a suspect).
local PREFIX = KEYS[1]
local FORM = 2                              -- of stored tasks; 1 knew no p, o, k, x, z, h, g, w
local PRIORITIES = { '0', '1', '2' }        -- high, normal, low
local SUSPECTS = PREFIX .. 'suspects'       -- LIST of ids that wait to be run alone
local SCHEDULED = PREFIX .. 'scheduled'     -- ZSET id -> due, µs
local RUNNING = PREFIX .. 'running'         -- ZSET id -> end of the lease, µs; all that is in flight
local FINISHED = {                          -- ZSETs id -> finished, µs
  completed = PREFIX .. 'done',
  failed = PREFIX .. 'dead',
  cancelled = PREFIX .. 'cancelled',
}
local CANCELLING = PREFIX .. 'cancelling'   -- SET of ids in flight with a z
local INDEX = PREFIX .. 'index'             -- ZSET of all ids, score 0: uuid7 sorts by time
local COUNTERS = PREFIX .. 'counters'       -- HASH of totals since the queue began, and tombstones
local CONTROL = PREFIX .. 'control'         -- HASH: paused; isolator, isolator_until, isolator_span
local MODES = PREFIX .. 'modes'             -- HASH type -> at-most-once, for types that are
local WAKE = PREFIX .. 'wake'               -- LIST of tokens that idle workers block on
local WAITING = PREFIX .. 'waiting'         -- ZSET worker -> until when it waits, µs
local WORKERS = PREFIX .. 'workers'         -- ZSET worker -> last seen, µs
local HISTORY_LINES = 20

local function task_key(id)
  return PREFIX .. 'task:' .. id
end

local function worker_key(worker)
  return PREFIX .. 'worker:' .. worker
end

-- LIST of ids that wait; taken from the left.
local function ready_key(priority)
  return PREFIX .. 'ready:' .. (priority or '1')
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

local function waiting_tasks()
  local total = redis.call('LLEN', SUSPECTS)
  for _, priority in ipairs(PRIORITIES) do
    total = total + redis.call('LLEN', ready_key(priority))
  end
  return total
end

-- Takes away the tokens that no one waits for any more; called where a waiter goes.
local function trim_tokens()
  local waiting = redis.call('ZCARD', WAITING)
  if waiting == 0 then
    redis.call('DEL', WAKE)
  else
    redis.call('LTRIM', WAKE, 0, waiting - 1)
  end
  return waiting
end

local function stop_waiting(worker)
  if redis.call('ZREM', WAITING, worker) == 1 then
    trim_tokens()
  end
end

-- Wakes as many waiting workers as there is work for. Tokens stand apart from tasks and never
-- exceed the waiters, so a token that dies with its holder costs a reap tick, never a task.
local function wake(now)
  local waiting = redis.call('ZCARD', WAITING)
  if waiting == 0 then
    return
  end
  if redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', digits(now)) > 0 then
    waiting = trim_tokens()
  end
  if redis.call('HEXISTS', CONTROL, 'paused') == 1 then
    return
  end
  local missing = math.min(waiting, waiting_tasks()) - redis.call('LLEN', WAKE)
  for _ = 1, missing do
    redis.call('RPUSH', WAKE, '1')
  end
end

-- Whether this claim of the task is still the one that holds it.
local function holds(id, epoch)
  local held = redis.call('HMGET', task_key(id), 's', 'e')
  return held[1] == 'processing' and tonumber(held[2]) == tonumber(epoch)
end

-- Queues a task that is in no other place: at the head of its list, or at the tail.
local function queue_task(id, stamp, push)
  local key = task_key(id)
  redis.call('HSET', key, 's', 'queued', 'u', stamp)
  redis.call(push, ready_key(redis.call('HGET', key, 'p')), id)
end

-- Whether the last claim of the task was given to a worker that ran nothing beside it.
local function ran_alone(id)
  local task = redis.call('HMGET', task_key(id), 'e', 'n')
  return task[1] == task[2]
end

-- Queues a task that is in no other place so that it will run alone.
local function queue_suspect(id, stamp, push)
  redis.call('HSET', task_key(id), 's', 'queued', 'u', stamp)
  redis.call(push, SUSPECTS, id)
end

-- scheduled -> queued, for what is due; at most 100 a call keeps every script short.
local function promote(now)
  local due = redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', digits(now), 'LIMIT', 0, 100)
  if #due == 0 then
    return
  end
  redis.call('ZREM', SCHEDULED, unpack(due))
  for _, id in ipairs(due) do
    queue_task(id, digits(now), 'RPUSH')
  end
end

-- Adds a line to the history: attempt, worker, began, ended, outcome, reason (JSON), by tabs.
local function note_attempt(key, stamp, outcome, reason)
  local task = redis.call('HMGET', key, 'h', 'a', 'w', 'u')
  local line = table.concat({ task[2], task[3] or '', task[4] or '', stamp, outcome, reason }, '\t')
  local history = task[1] and (task[1] .. '\n' .. line) or line
  local _, breaks = string.gsub(history, '\n', '\n')
  if breaks >= HISTORY_LINES then
    history = string.gsub(history, '^[^\n]*\n', '', 1)
  end
  redis.call('HSET', key, 'h', history)
end

-- Removes every trace of a task that is in no list and no set but the index.
local function erase(id)
  redis.call('DEL', task_key(id))
  redis.call('ZREM', INDEX, id)
end

-- The end of a task that is in no other place. status: completed, failed or cancelled.
local function finish(id, status, stamp, result)
  redis.call('HSET', task_key(id), 's', status, 'u', stamp, 'r', result)
  redis.call('ZADD', FINISHED[status], stamp, id)
  redis.call('HINCRBY', COUNTERS, status, 1)
end

-- Carries out what was asked for while the task ran; it is in no other place any more.
local function carry_out(id, asked, stamp, result)
  redis.call('SREM', CANCELLING, id)
  if asked == 'purge' then
    erase(id)
    redis.call('HINCRBY', COUNTERS, 'purged', 1)
  else
    redis.call('HDEL', task_key(id), 'z')
    finish(id, 'cancelled', stamp, result)
  end
end

-- The end of an attempt whose worker is gone: false if the task may not be run again.
local function lost_attempt(id, stamp)
  local key = task_key(id)
  local task = redis.call('HMGET', key, 'z', 't')
  note_attempt(key, stamp, 'lost', '"its worker did not report in time"')
  if task[1] then
    carry_out(id, task[1], stamp, '{"error":"cancelled"}')
    return false
  end
  if redis.call('HGET', MODES, task[2]) == 'at-most-once' then
    finish(id, 'failed', stamp, '{"error":"its worker was lost, and this type runs at most once"}')
    return false
  end
  return true
end
