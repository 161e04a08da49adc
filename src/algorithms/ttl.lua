--[[
  How long a key is kept. Twin of ttl.ts.

  In:   whole microseconds until its state no longer counts
  Out:  ttl_of  the TTL in milliseconds, as a command's argument: rounded up, and 1 ms more for servers that expire a
                key at its very instant
]]
local function ttl_of(left)
  local ttl = left + 1999
  return string.format('%d', (ttl - ttl % 1000) / 1000)
end
