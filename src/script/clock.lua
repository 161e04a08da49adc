--[[
  Reads Redis's own clock once per script call, so that all its decisions share one instant.

  In:   nothing
  Out:  now   whole microseconds since the Unix epoch
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
