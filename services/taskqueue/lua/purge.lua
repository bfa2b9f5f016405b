#!lua flags=allow-oom
-- Removes tasks with all they hold. Transition: any status -> (nothing); one in flight is asked to
-- stop, and is removed when its worker reports, or is lost.
--
-- allow-oom: it frees memory.
-- ARGV[2..]  ids
-- Returns    per id 'purged', 'purging' if it was asked to stop, '' if there is none
local answer = {}
local purged = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = task_key(id)
  local status = redis.call('HGET', key, 's')
  local word = ''
  if status == 'processing' then
    redis.call('HSET', key, 'z', 'purge')
    redis.call('SADD', CANCELLING, id)
    word = 'purging'
  elseif status then
    if status == 'queued' then -- its id stays in the ready list as a tombstone
      redis.call('HINCRBY', COUNTERS, 'tombstones', 1)
    else
      redis.call('ZREM', FINISHED[status] or SCHEDULED, id)
    end
    erase(id)
    purged = purged + 1
    word = 'purged'
  end
  answer[#answer + 1] = word
end
if purged > 0 then
  redis.call('HINCRBY', COUNTERS, 'purged', purged)
end
return answer
