import { assemble } from '../../../scripts/build-lua.mjs';

/**
 * The production script but for its clock, which is the last element of ARGV, and for its writes: they have no TTL,
 * since the server's time is not that of the test, and are told after the answer, `command key value ttl` each. A
 * write on a key that begins with `full:` fails as on a server whose memory is full.
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
function redis.pcall(command, key, ...)
  local a, b, c, d = ...
  if command == 'GET' then
    return server.pcall('GET', key)
  end
  if command == 'DEL' then
    ARGV.told('DEL ' .. key)
    return server.pcall('DEL', key)
  end
  if string.find(key, 'full', 1, true) then
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
