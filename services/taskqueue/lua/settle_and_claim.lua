#!lua flags=allow-oom
-- Reports outcomes and takes the next tasks, in one round trip.
-- Transitions: processing -> completed | failed | scheduled; queued -> processing.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]    worker
-- ARGV[3]    sequence number of this call; a call that repeats the last one settles nothing again
--            and answers the same tasks, their leases renewed (the first answer was lost)
-- ARGV[4]    lease, µs
-- ARGV[5]    how many tasks to take, at most
-- ARGV[6]    how long the worker will wait for a wake token if it gets fewer than that, µs
-- ARGV[7..]  per outcome: id, epoch, status, due (µs from now, for `scheduled`), result (JSON),
--            '1' if the attempt counts, else '0'
-- Returns    {ids whose outcome was refused as the lease was lost,
--             {id, epoch, type, data, created, attempt, ...} six fields a task}
local now = clock()
local stamp = digits(now)
local worker, sequence = ARGV[2], ARGV[3]
local lease_end = digits(now + tonumber(ARGV[4]))
local want = tonumber(ARGV[5])
local record = worker_key(worker)

local function describe(claims, id, epoch)
  local task = redis.call('HMGET', task_key(id), 't', 'd', 'c', 'a')
  for _, value in ipairs({ id, epoch, task[1], task[2], task[3], task[4] }) do
    claims[#claims + 1] = value
  end
end

local last = redis.call('HMGET', record, 'sequence', 'lost', 'claimed')
if last[1] == sequence then
  local lost, claims = {}, {}
  for id in string.gmatch(last[2], '%S+') do
    lost[#lost + 1] = id
  end
  for id, epoch in string.gmatch(last[3], '(%S+) (%S+)') do
    if holds(id, epoch) then
      redis.call('ZADD', RUNNING, lease_end, id)
      describe(claims, id, epoch)
    end
  end
  return { lost, claims }
end

local lost = {}
local totals = {}
for i = 7, #ARGV, 6 do
  local id, status, result = ARGV[i], ARGV[i + 2], ARGV[i + 4]
  if holds(id, ARGV[i + 1]) then
    redis.call('ZREM', RUNNING, id)
    if status == 'completed' then
      redis.call('ZADD', DONE, stamp, id)
    elseif status == 'failed' then
      redis.call('ZADD', DEAD, stamp, id)
    else
      redis.call('ZADD', SCHEDULED, digits(now + tonumber(ARGV[i + 3])), id)
    end
    if result ~= '' then
      redis.call('HSET', task_key(id), 's', status, 'u', stamp, 'r', result)
    else
      redis.call('HSET', task_key(id), 's', status, 'u', stamp)
    end
    if ARGV[i + 5] == '0' then
      redis.call('HINCRBY', task_key(id), 'a', -1)
    end
    totals[status] = (totals[status] or 0) + 1
  else
    lost[#lost + 1] = id
    totals['lost_leases'] = (totals['lost_leases'] or 0) + 1
  end
end
for name, count in pairs(totals) do
  redis.call('HINCRBY', COUNTERS, name == 'scheduled' and 'retried' or name, count)
end

promote(now)

local claims, taken, leases = {}, {}, {}
while #taken < want do
  local ids = redis.call('LPOP', READY, want - #taken)
  if not ids then
    break
  end
  for _, id in ipairs(ids) do
    local key = task_key(id)
    local task = redis.call('HMGET', key, 's', 'e', 't', 'd', 'c', 'a')
    if task[1] == 'queued' then -- else a tombstone: removed or taken out of the queue meanwhile
      local epoch, attempt = digits(task[2] + 1), digits(task[6] + 1)
      redis.call('HSET', key, 's', 'processing', 'e', epoch, 'a', attempt, 'u', stamp)
      for _, value in ipairs({ id, epoch, task[3], task[4], task[5], attempt }) do
        claims[#claims + 1] = value
      end
      taken[#taken + 1] = id .. ' ' .. epoch
      leases[#leases + 1] = lease_end
      leases[#leases + 1] = id
    end
  end
end
if #leases > 0 then
  redis.call('ZADD', RUNNING, unpack(leases))
end
redis.call('HSET', record, 'sequence', sequence, 'lost', table.concat(lost, ' '), 'claimed', table.concat(taken, ' '))
redis.call('ZADD', WORKERS, stamp, worker)

if #taken < want then
  redis.call('ZADD', WAITING, digits(now + tonumber(ARGV[6])), worker)
else
  redis.call('ZREM', WAITING, worker)
  wake(now) -- a token that reached a worker with too few free places is handed on
end
return { lost, claims }
