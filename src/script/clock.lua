--[[
  Redis's own clock, read once per call, so that every decision of the call shares one instant.

  In:   nothing
  Out:  now   whole microseconds since the Unix epoch
]]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
