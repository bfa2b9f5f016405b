#!lua flags=allow-oom
-- Hands tasks back to the head of the queue.
-- Transitions: processing -> queued, or failed if it was begun and its type runs at most once, or
-- cancelled or (nothing) if that was asked for.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  worker
-- ARGV[3]  '1' if the worker leaves for good and must not be waited for
-- ARGV[4]  msgpack: an array of [id, epoch, whether the attempt was begun (it then counts)]
-- Returns  the ids that this worker no longer held
local now = clock()
local stamp = digits(now)
local leases = cmsgpack.unpack(ARGV[4])
local lost = {}

-- A suspect stays one: it has yet to show that it can run alone without a kill.
local function hand_back(id)
  local queue = ran_alone(id) and queue_suspect or queue_task
  queue(id, stamp, 'LPUSH')
end

for i = #leases, 1, -1 do
  local id, begun = leases[i][1], leases[i][3]
  if holds(id, leases[i][2]) then
    redis.call('ZREM', RUNNING, id)
    if not begun then
      redis.call('HINCRBY', task_key(id), 'a', -1)
      local asked = redis.call('HGET', task_key(id), 'z')
      if asked then
        carry_out(id, asked, stamp, '{"error":"cancelled"}')
      else
        hand_back(id)
      end
    elseif lost_attempt(id, stamp) then
      hand_back(id)
    end
  else
    table.insert(lost, 1, id)
  end
end
if ARGV[3] == '1' then
  stop_waiting(ARGV[2])
  redis.call('ZREM', WORKERS, ARGV[2])
  redis.call('DEL', worker_key(ARGV[2]))
end
wake(now)
return lost
