import { assemble } from '../../../scripts/build-lua.mjs';

/**
 * The production script, except for its clock and its writes. The clock is the last element of ARGV. Writes have no
 * TTL, because the server's time is not the test's, and follow the answer as `command key value ttl`. A write on a key
 * that ends in `full`, or is of a limit of that name, fails, as on a server out of memory.
 */
export const recordingScript: string = `
local writes = {}
local function decide()
${
  assemble({
    'script/clock': `--[[
  A clock that the caller sets, and writes that are told.

  In:   ARGV  whole microseconds since the Unix epoch, last
  Out:  now   the same
]]
local now = tonumber(table.remove(ARGV))
local server = redis
local redis = { call = server.call }
local reads = { GET = true, ZRANGE = true, ZREVRANGE = true, ZRANGEBYSCORE = true, ZREVRANGEBYSCORE = true }
function redis.pcall(command, key, ...)
  local a, b, c, d = ...
  if reads[command] then
    return server.pcall(command, key, ...)
  end
  if command == 'DEL' then
    ARGV.told('DEL ' .. key)
    return server.pcall('DEL', key)
  end
  if string.find(key, 'full$') or string.find(key, '/full:', 1, true) then
    return { err = 'OOM command not allowed' }
  end
  if command == 'PSETEX' then
    ARGV.told('SET ' .. key .. ' ' .. b .. ' ' .. a)
    return server.pcall('SET', key, b)
  end
  local written = server.pcall('SET', key, a, d)
  if written then
    ARGV.told('SET ' .. key .. ' ' .. a .. ' ' .. c)
  end
  return written
end
`,
  }).text
}
end
function ARGV.told(text) writes[#writes + 1] = text end
local out = decide()
return { out, writes }
`;
