#!lua flags=allow-oom
-- Cancels tasks. Transitions: queued | scheduled -> cancelled; one in flight is asked to stop, and
-- is cancelled when its worker says so, or is lost, or would try it again.
--
-- allow-oom: a full queue must still drain. A queued task leaves its id in the ready list, as
-- taking it out would walk the list: a tombstone, which claim skips and the counters know of.
-- ARGV[2..]  ids
-- Returns    per id the status it now has, 'cancelling' if it was asked to stop, '' if none
local stamp = digits(clock())
local answer = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local key = task_key(id)
  local status = redis.call('HGET', key, 's') or ''
  if status == 'queued' or status == 'scheduled' then
    if status == 'queued' then
      redis.call('HINCRBY', key, 'x', 1)
      redis.call('HINCRBY', COUNTERS, 'tombstones', 1)
    else
      redis.call('ZREM', SCHEDULED, id)
    end
    finish(id, 'cancelled', stamp, '{"error":"cancelled"}')
    status = 'cancelled'
  elseif status == 'processing' then
    redis.call('HSETNX', key, 'z', 'cancel')
    redis.call('SADD', CANCELLING, id)
    status = 'cancelling'
  end
  answer[#answer + 1] = status
end
return answer
