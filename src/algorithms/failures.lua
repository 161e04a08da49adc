--[[
  What stands in the places of an entry that failed alone. Such an entry grants nothing and charges nothing.

  In:   nothing
  Out:  FOREIGN_TYPE, UNREADABLE   messages, as Redis words its own
]]
local FOREIGN_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'
local UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes'
