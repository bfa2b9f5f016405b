#!lua
-- Queues tasks again that had ended otherwise than well, with all their attempts before them.
-- Transition: failed | cancelled -> queued. Their history is kept.
--
-- ARGV[2..]  ids
-- Returns    per id 'queued', or the status it has and keeps, or '' if there is none
local now = clock()
local answer = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = task_key(id)
  local status = redis.call('HGET', key, 's') or ''
  if status == 'failed' or status == 'cancelled' then
    redis.call('ZREM', FINISHED[status], id)
    redis.call('HDEL', key, 'k', 'n', 'r', 'g')
    redis.call('HSET', key, 'a', '0')
    queue_task(id, digits(now), 'RPUSH')
    redis.call('HINCRBY', COUNTERS, 'redriven', 1)
    status = 'queued'
  end
  answer[#answer + 1] = status
end
wake(now)
return answer
