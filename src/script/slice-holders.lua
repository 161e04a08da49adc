--[[
  The processes that hold slices of one identity. Twin of slice-holders.ts.

  In:   value  'id:ends' joined by ',', with the instant at which the process's last slice ends; or none
  Uses: now, LONGEST_SLICE
  Out:  slice_holders  load and encode; count, how many hold slices with this process; note, that a process holds one
]]
local slice_holders = {}

local MAX_HOLDERS = 64

function slice_holders.load(value)
  local state = { algorithm = slice_holders, changed = false }
  for part in string.gmatch(value and value .. ',' or '', '([^,]*),') do
    local id, ends = string.match(part, '^([%w_-]+):(%d+)$')
    if not id or #id > 32 or #ends > 16 then
      return nil
    end
    ends = tonumber(ends)
    -- A slice that ends later than any can was given before the clock stepped back.
    if ends > now and ends <= now + LONGEST_SLICE then
      state[#state + 1] = { id = id, ends = ends }
    end
  end
  return state
end

function slice_holders.encode(state)
  local parts, rests = {}, now
  for h = 1, #state do
    parts[h] = string.format('%s:%d', state[h].id, state[h].ends)
    rests = math.max(rests, state[h].ends)
  end
  return table.concat(parts, ','), rests
end

function slice_holders.count(state, process)
  local count = 1
  for h = 1, #state do
    count = state[h].id ~= process and count + 1 or count
  end
  return count
end

function slice_holders.note(state, process, ends)
  for h = #state, 1, -1 do
    if state[h].id == process then
      ends = math.max(ends, table.remove(state, h).ends)
    end
  end
  if #state >= MAX_HOLDERS then
    local first = 1
    for h = 2, #state do
      first = state[h].ends < state[first].ends and h or first
    end
    table.remove(state, first)
  end
  state[#state + 1] = { id = process, ends = ends }
  state.changed = true
end
