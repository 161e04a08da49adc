--[[
  How long a key is kept. Twin of ttl.ts.

  In:   microseconds until its state is as good as none; whole ones
  Out:  ttl_of  milliseconds, as the argument of a command: up to the next whole one, and one more for servers that
        expire a key at its instant
]]
local function ttl_of(left)
  local ttl = left + 1999
  return string.format('%d', (ttl - ttl % 1000) / 1000)
end
