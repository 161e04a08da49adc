--[[
  What every algorithm and the driver share.

  In:   nothing
  Out:  FIRST_INEXACT   2^53: from here on doubles skip whole numbers
        JITTER          1 s: a clock that stepped back by no more is left alone
        FOREIGN_TYPE, UNREADABLE   what stands in the places of an entry that failed alone, as Redis words it
]]
local FIRST_INEXACT = 9007199254740992
local JITTER = 1000000
local FOREIGN_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'
local UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes'
