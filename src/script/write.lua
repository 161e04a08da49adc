--[[
  The end of a script call: writes each changed key once, in one command with its TTL. If a write fails, every entry
  that depends on it fails, and nothing else that it changed is written. Twin of the end of decide.ts.

  In:   what decide.lua leaves
  Uses: now, ttl_of, out, homes, alone, erased, first_change, entries, slot_of, fail, home_value, drop_state, asides
  Out:  the reply; on a replica, which decides nothing, an error instead
]]
local failures, done = {}, {} -- by slot: why it was not written; whether it was
local any_failed, on_replica = false, nil

local function write_string(slot, text, rests)
  return text and redis.pcall('PSETEX', KEYS[slot], ttl_of(rests - now), text) or redis.pcall('DEL', KEYS[slot])
end

local function write_alone(slot, state)
  local saves, written = state and state.changed, nil
  if erased[slot] and not (saves and state.algorithm.encode) then -- a string is simply overwritten
    written = redis.pcall('DEL', KEYS[slot])
  end
  if saves and state.algorithm.encode then
    written = write_string(slot, state.algorithm.encode(state))
  elseif saves then
    written = state.algorithm.save(KEYS[slot], state)
  end
  if saves then
    state.changed = false
  end
  return written
end

-- Whether a reset left something behind that is only remembered if there is memory. Drops it.
local function drop_forgotten(home)
  local found = false
  for i = #home.texts, 1, -1 do
    local id = home.texts[i]
    if home[id] and home[id].forgotten then
      drop_state(home, id)
      found = true
    end
  end
  return found
end

-- Gives up a slot, and every other slot that an entry which depends on it may have changed. A server that is out of
-- memory refuses to store, but still deletes: without this a refund would be kept in one home and lost in another.
local function give_up(slot, failure)
  if not first_change[slot] or failures[slot] or done[slot] then
    return
  end
  failures[slot], any_failed = failure, true
  for e = 1, #entries do
    local entry = entries[e]
    local mine, depends = { entry.record_slot }, entry.record_slot == slot
    for l = 1, #entry.shape do
      mine[#mine + 1] = slot_of(entry, l)
      depends = depends or mine[#mine] == slot
    end
    for m = 1, depends and entry.at >= first_change[slot] and #mine or 0 do
      if entry.at >= (first_change[mine[m]] or math.huge) then
        give_up(mine[m], failure)
      end
    end
  end
end

local function write(slot)
  local written, home = nil, homes[slot]
  if home then
    written = write_string(slot, home_value(home))
    if type(written) == 'table' and written.err and drop_forgotten(home) then
      written = write_string(slot, home_value(home))
    end
  else
    written = write_alone(slot, alone[slot])
  end
  if type(written) == 'table' and written.err then
    give_up(slot, written.err)
    on_replica = on_replica or (string.find(written.err, 'READONLY', 1, true) and written.err)
  end
  done[slot] = not failures[slot]
end

-- Writes records before states. A settlement whose record is missing would be charged again when it is retried.
for e = 1, #entries do
  local record = entries[e].record_slot
  if record and first_change[record] and not failures[record] and alone[record].changed then
    write(record)
  end
end

for slot = 1, #KEYS do
  if first_change[slot] and not failures[slot] and (homes[slot] or erased[slot] or alone[slot].changed) then
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
    local record = entry.record_slot
    for l = 1, #entry.shape do
      local slot = slot_of(entry, l)
      if failures[slot] and entry.at >= first_change[slot] then
        fail(entry, failures[slot])
        if record and first_change[record] and not failures[record] then
          redis.pcall('DEL', KEYS[record])
          failures[record] = failures[slot] -- fails entries that only read the record, too
        end
      end
    end
    if record and failures[record] and entry.at >= first_change[record] then
      fail(entry, failures[record])
    end
  end
end

for a = 1, #asides do
  out[#out + 1] = asides[a]
end
return out
