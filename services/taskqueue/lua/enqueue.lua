#!lua
-- Stores new tasks and queues them. Transition: (nothing) -> queued.
--
-- No allow-oom: a Redis that is full refuses the whole call before its first write.
-- ARGV[2..]  per task: id, type, data (JSON)
-- Returns    per task 1 (stored) or 0 (that id was stored before: a repeat after a lost reply)
local now = clock()
local created = digits(now)
local answer = {}
local fresh = {}
local index = {}
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local key = task_key(id)
  if redis.call('HSETNX', key, 's', 'queued') == 1 then
    redis.call('HSET', key, 'v', '1', 't', ARGV[i + 1], 'd', ARGV[i + 2], 'c', created, 'e', '0', 'a', '0')
    fresh[#fresh + 1] = id
    index[#index + 1] = '0'
    index[#index + 1] = id
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
if #fresh > 0 then
  redis.call('RPUSH', READY, unpack(fresh))
  redis.call('ZADD', INDEX, unpack(index))
  redis.call('HINCRBY', COUNTERS, 'enqueued', #fresh)
  wake(now)
end
return answer
