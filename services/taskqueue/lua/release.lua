#!lua flags=allow-oom
-- Hands tasks back to the head of the queue. Transition: processing -> queued.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]    worker
-- ARGV[3]    '1' if the worker leaves for good and must not be waited for
-- ARGV[4..]  per task: id, epoch, '1' if the attempt was begun (it then counts), else '0'
-- Returns    the ids that this worker no longer held
local now = clock()
local lost, back = {}, {}
for i = 4, #ARGV, 3 do
  local id = ARGV[i]
  if holds(id, ARGV[i + 1]) then
    if ARGV[i + 2] == '0' then
      redis.call('HINCRBY', task_key(id), 'a', -1)
    end
    back[#back + 1] = id
  else
    lost[#lost + 1] = id
  end
end
requeue(back, now)
if ARGV[3] == '1' then
  redis.call('ZREM', WAITING, ARGV[2])
  redis.call('ZREM', WORKERS, ARGV[2])
  redis.call('DEL', worker_key(ARGV[2]))
end
wake(now)
return lost
