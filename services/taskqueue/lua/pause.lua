#!lua flags=allow-oom
-- Pauses a queue, or lets it go on. Paused, tasks are accepted and settled but none is claimed.
--
-- allow-oom: a full queue must still drain.
-- ARGV[2]  '1' to pause, '0' to go on
-- Returns  1 if that changed anything, else 0
local changed
if ARGV[2] == '1' then
  changed = redis.call('HSETNX', CONTROL, 'paused', digits(clock()))
else
  changed = redis.call('HDEL', CONTROL, 'paused')
  wake(clock())
end
return changed
