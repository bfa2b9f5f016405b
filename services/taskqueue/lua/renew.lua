#!lua flags=allow-oom
-- Extends leases. No transition.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]    lease, µs
-- ARGV[3..]  per task: id, epoch
-- Returns    the ids that this worker no longer holds
local lease_end = digits(clock() + tonumber(ARGV[2]))
local lost = {}
for i = 3, #ARGV, 2 do
  if holds(ARGV[i], ARGV[i + 1]) then
    redis.call('ZADD', RUNNING, lease_end, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
