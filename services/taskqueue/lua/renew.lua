#!lua flags=allow-oom
-- Extends leases and stores progress. No transition.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  lease, µs
-- ARGV[3]  msgpack: an array of [id, epoch, progress (JSON) or nil]
-- Returns  the ids that this worker no longer holds
local lease_end = digits(clock() + tonumber(ARGV[2]))
local lost = {}
for _, lease in ipairs(cmsgpack.unpack(ARGV[3])) do
  if holds(lease[1], lease[2]) then
    redis.call('ZADD', RUNNING, lease_end, lease[1])
    if lease[3] then
      redis.call('HSET', task_key(lease[1]), 'g', lease[3])
    end
  else
    lost[#lost + 1] = lease[1]
  end
end
return lost
