#!lua flags=allow-oom
-- Reports outcomes and takes the next tasks, in one round trip.
-- Transitions: processing -> completed | failed | cancelled | scheduled | (nothing, if a purge was
-- asked for); queued -> processing.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  worker
-- ARGV[3]  sequence number of this call; a call that repeats the last one settles nothing again
--          and answers the same tasks, their leases renewed (the first answer was lost)
-- ARGV[4]  lease, µs
-- ARGV[5]  how many tasks to take, at most
-- ARGV[6]  how long the worker will wait for a wake token if it gets fewer than that, µs
-- ARGV[7]  how many tasks the worker holds beside those it reports now
-- ARGV[8]  msgpack: an array of outcomes, each [id, epoch, status, result (JSON), due (µs from now,
--          for `scheduled`), whether the attempt counts]
-- Returns  {ids whose outcome was refused as the lease was lost,
--           {id, epoch, type, data, created, attempt, options or ''} seven fields a task,
--           NOTHING | MORE | DRAIN | ALONE}
local NOTHING = 0 -- no task is left
local MORE = 1    -- there is more: call again when there is room
local DRAIN = 2   -- a suspect waits: finish what is held, and call without anything held
local ALONE = 3   -- the one task given is a suspect: run nothing beside it
local ISOLATE_US = 5000000 -- how long a worker may take to drain before another one is asked, at first
local POPS = 400           -- ids looked at in one list at most, tombstones among them
local BYTES = 4194304      -- payloads in one answer, about: what is large comes in smaller numbers
local now = clock()
local stamp = digits(now)
local worker, sequence = ARGV[2], ARGV[3]
local lease_end = digits(now + tonumber(ARGV[4]))
local want = tonumber(ARGV[5])
local held_beside = tonumber(ARGV[7])
local record = worker_key(worker)
local claims, taken, bytes = {}, {}, 0

local function describe(id, epoch, attempt, kind, data, created, options)
  local last = #claims
  claims[last + 1] = id
  claims[last + 2] = epoch
  claims[last + 3] = kind
  claims[last + 4] = data
  claims[last + 5] = created
  claims[last + 6] = attempt
  claims[last + 7] = options or ''
  bytes = bytes + #data
end

local last = redis.call('HMGET', record, 'sequence', 'lost', 'claimed', 'flag')
if last[1] == sequence then
  local lost = {}
  for id in string.gmatch(last[2], '%S+') do
    lost[#lost + 1] = id
  end
  for id, epoch in string.gmatch(last[3], '(%S+) (%S+)') do
    if holds(id, epoch) then
      redis.call('ZADD', RUNNING, lease_end, id)
      local task = redis.call('HMGET', task_key(id), 'a', 't', 'd', 'c', 'o')
      describe(id, epoch, task[1], task[2], task[3], task[4], task[5])
    end
  end
  local flag = tonumber(last[4]) or MORE
  if flag == ALONE and #claims == 0 then
    flag = MORE -- the suspect was taken back meanwhile
  elseif flag == NOTHING and want > 0 then
    redis.call('ZADD', WAITING, digits(now + tonumber(ARGV[6])), worker)
    wake(now)
  end
  return { lost, claims, flag }
end

-- Outcomes other than a plain completion. The task is out of RUNNING.
local function settle_otherwise(id, key, asked, outcome)
  local status, result = outcome[3], outcome[4]
  if not outcome[6] then
    redis.call('HINCRBY', key, 'a', -1)
  end
  if status ~= 'completed' then
    note_attempt(key, stamp, status, result)
  end
  if asked == 'purge' or (asked and status == 'scheduled') then
    carry_out(id, asked, stamp, result)
    return
  end
  if asked then
    redis.call('SREM', CANCELLING, id)
    redis.call('HDEL', key, 'z')
  end
  if status == 'scheduled' then
    redis.call('HSET', key, 's', status, 'u', stamp, 'r', result)
    redis.call('ZADD', SCHEDULED, digits(now + outcome[5]), id)
    redis.call('HINCRBY', COUNTERS, 'retried', 1)
  else
    finish(id, status, stamp, result)
  end
end

local lost, ended, done = {}, {}, {}
for _, outcome in ipairs(cmsgpack.unpack(ARGV[8])) do
  local id = outcome[1]
  local key = task_key(id)
  local held = redis.call('HMGET', key, 's', 'e', 'z')
  if held[1] == 'processing' and tonumber(held[2]) == outcome[2] then
    ended[#ended + 1] = id
    if outcome[3] == 'completed' and not held[3] then
      redis.call('HSET', key, 's', 'completed', 'u', stamp, 'r', outcome[4])
      done[#done + 1] = stamp
      done[#done + 1] = id
    else
      settle_otherwise(id, key, held[3], outcome)
    end
  else
    lost[#lost + 1] = id
  end
end
if #ended > 0 then
  redis.call('ZREM', RUNNING, unpack(ended))
end
if #done > 0 then
  redis.call('ZADD', FINISHED.completed, unpack(done))
  redis.call('HINCRBY', COUNTERS, 'completed', #done / 2)
end
if #lost > 0 then
  redis.call('HINCRBY', COUNTERS, 'lost_leases', #lost)
end

promote(now)

local leases, tombstones = {}, 0

-- Whether the id, just popped, is now held by this worker. Else it was a tombstone (cancelled or
-- removed while it waited), or a task of a later form than this script knows.
local function take(id)
  local key = task_key(id)
  local task = redis.call('HMGET', key, 's', 'e', 'a', 't', 'd', 'c', 'o', 'x', 'v')
  if task[1] ~= 'queued' or task[8] then
    tombstones = tombstones + 1
    if task[8] == '1' then
      redis.call('HDEL', key, 'x')
    elseif task[8] then
      redis.call('HINCRBY', key, 'x', -1)
    end
    return
  end
  if tonumber(task[9]) > FORM then -- a newer worker will know it: a rolling update is under way
    redis.call('HSET', key, 's', 'scheduled', 'u', stamp)
    redis.call('ZADD', SCHEDULED, digits(now + ISOLATE_US), id)
    return
  end
  local epoch, attempt = digits(task[2] + 1), digits(task[3] + 1)
  redis.call('HSET', key, 's', 'processing', 'e', epoch, 'a', attempt, 'u', stamp, 'w', worker)
  describe(id, epoch, attempt, task[4], task[5], task[6], task[7])
  taken[#taken + 1] = id .. ' ' .. epoch
  leases[#leases + 1] = lease_end
  leases[#leases + 1] = id
end

-- Takes from a list until `want` are held or it is empty; answers whether it is empty.
local function take_from(list)
  local pops = 0
  while #taken < want and pops < POPS and bytes < BYTES do
    local ids = redis.call('LPOP', list, want - #taken)
    if not ids then
      return true
    end
    pops = pops + #ids
    for i, id in ipairs(ids) do
      if bytes >= BYTES then -- the rest goes back, in its order
        for j = #ids, i, -1 do
          redis.call('LPUSH', list, ids[j])
        end
        break
      end
      take(id)
    end
  end
  return false
end

-- Suspects run alone. One worker at a time is asked to come with nothing held; when its time is
-- over another one has the next turn, twice as long, so that tasks of any length are waited for.
local function isolate(control)
  if held_beside == 0 and want > 0 then
    want = 1
    take_from(SUSPECTS)
    if #taken == 0 then
      return nil
    end
    redis.call('HSET', task_key(claims[1]), 'n', claims[2])
    redis.call('HDEL', CONTROL, 'isolator', 'isolator_until', 'isolator_span')
    return ALONE
  end
  local mine, ends = control[2] == worker, tonumber(control[3]) or 0
  local seen = control[2] and redis.call('ZSCORE', WORKERS, control[2])
  if ends >= now and (mine or seen and tonumber(seen) >= now - ISOLATE_US) then
    return mine and DRAIN or nil
  end
  if mine and now < ends + ISOLATE_US then
    return nil -- any other's turn first
  end
  local span = tonumber(control[4]) or ISOLATE_US
  redis.call('HSET', CONTROL, 'isolator', worker, 'isolator_until', digits(now + span), 'isolator_span', digits(2 * span))
  return DRAIN
end

local flag
local control = redis.call('HMGET', CONTROL, 'paused', 'isolator', 'isolator_until', 'isolator_span')
if control[1] then
  flag = NOTHING
elseif redis.call('LLEN', SUSPECTS) > 0 then
  local asked = want
  flag = isolate(control)
  want = flag and want or asked
end
if not flag then
  flag = NOTHING
  for _, priority in ipairs(PRIORITIES) do
    if not take_from(ready_key(priority)) then
      flag = MORE
      break
    end
  end
end
if #leases > 0 then
  redis.call('ZADD', RUNNING, unpack(leases))
end
if tombstones > 0 then
  redis.call('HINCRBY', COUNTERS, 'tombstones', -tombstones)
end
redis.call('HSET', record, 'sequence', sequence, 'lost', table.concat(lost, ' '), 'claimed', table.concat(taken, ' '), 'flag', flag)
redis.call('ZADD', WORKERS, stamp, worker)

if flag == NOTHING and want > 0 then
  redis.call('ZADD', WAITING, digits(now + tonumber(ARGV[6])), worker)
else
  stop_waiting(worker)
  wake(now) -- a token that reached a worker with too few free places is handed on
end
return { lost, claims, flag }
