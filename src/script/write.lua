--[[
  The end of a script call: writes each changed state once, in one command with its TTL. If a write fails, every
  entry that depends on it fails, and no other. Twin of the end of decide.ts.

  In:   what decide.lua leaves
  Uses: states, out, erased, first_change, entries, fail
  Out:  the reply; on a replica, which decides nothing, an error instead
]]
local failures = {} -- by slot: why the write failed
local any_failed, on_replica = false, nil

local function write(slot)
  local state, written = states[slot], nil
  local saves = state and state.changed
  if erased[slot] and not (saves and not state.algorithm.open) then -- a string is simply overwritten
    written = redis.pcall('DEL', KEYS[slot])
  end
  if saves then
    written = state.algorithm.save(KEYS[slot], state)
    state.changed = false
  end
  if type(written) == 'table' and written.err then
    failures[slot] = written.err
    any_failed = true
    on_replica = on_replica or (string.find(written.err, 'READONLY', 1, true) and written.err)
  end
end

-- Writes records before states. A settlement whose record is missing would be charged again when it is retried.
for e = 1, #entries do
  local entry = entries[e]
  local record = entry.record
  if record and first_change[record] then
    if states[record].changed then
      write(record)
    end
    for l = 1, #entry do
      if first_change[entry[l]] then
        failures[entry[l]] = failures[entry[l]] or failures[record]
      end
    end
  end
end

for slot = 1, #KEYS do
  if first_change[slot] and not failures[slot] and (erased[slot] or states[slot].changed) then
    write(slot)
  end
end

-- Answers with the replica's own error, so that the client looks for the primary.
if on_replica then
  return redis.error_reply(on_replica)
end

-- If a write failed, fails every entry that depended on it and deletes its reservation record.
if any_failed then
  for e = 1, #entries do
    local entry = entries[e]
    local record = entry.record
    for l = 1, #entry do
      local slot = entry[l]
      if failures[slot] and entry.at >= first_change[slot] then
        fail(entry, failures[slot])
        if record and first_change[record] and not failures[record] then
          redis.pcall('DEL', KEYS[record])
        end
      end
    end
    if record and failures[record] and entry.at >= first_change[record] then
      fail(entry, failures[record])
    end
  end
end

return out
