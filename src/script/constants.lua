--[[
  Constants shared by the algorithms and the driver.

  In:   nothing
  Out:  FIRST_INEXACT   2^53: from here on doubles skip whole numbers
        MAX_UNITS       the greatest rate and burst
        MAX_RECOVERY    ten years in microseconds: the longest recovery of a bucket
        JITTER          1 s in microseconds: a clock that stepped back by no more is not corrected
        LONGEST_SLICE   3 s in microseconds: no slice ends later after it was given
        FOREIGN_TYPE, UNREADABLE   messages in place of the integers of an entry that failed, worded as Redis does
]]
local FIRST_INEXACT = 9007199254740992
local MAX_UNITS = 1000000000
local MAX_RECOVERY = 316224000000000
local JITTER = 1000000
local LONGEST_SLICE = 3000000
local FOREIGN_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'
local UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes'
