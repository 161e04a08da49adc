--[[
  The driver: decides entries in order, each under one or several limits, all or nothing. Loads the state of every
  limit and changes it; write.lua writes. Twin of decide.ts.

  In:   KEYS  the keys of every entry, in the order of the entries; a key may occur again. For `reserve`, `add`,
              `recall` and `settle` the key of the reservation record follows those of the limits
        ARGV  after the shapes runs until the end: index of a shape, number of key groups, entries per group; then for
              each entry its details, which verbs.lua reads
  Uses: now, UNREADABLE, MAX_STATES, CROWDED, read_home, note_change, drop_state, remembers_resets, values, out, key, out_at, shapes,
        args, args_at, verbs
  Out:  out       now; then per entry what verbs.lua answers, and per limit the integers of its algorithm (for `reset`
                  one integer, for `renew`, `release` and `settle` none); a failed entry has its message in all of its
                  indexes
        entries   per entry its shape, the state of each limit, its index `at` in `out`, and that of its first `key`
        slot_of   the slot of a limit's key, by entry and index of the limit
        homes, alone, erased, first_change   by slot: the home; the state that has a key of its own; whether `reset`
                  erased that; the index in `out` of the entry that first changed the slot
        fail      puts a message in all indexes of an entry
        asides    the index in `out` of a limit's first integer, then the mark that its integers do not tell; or the
                  index of what `recall` answers, then what the record says; and so on
]]
-- A slot is the index in KEYS at which a key first occurs.
local homes = {}
local alone = {}
local erased = {}
local first_change = {}

local slots = {}
for k = key, #KEYS do
  slots[KEYS[k]] = slots[KEYS[k]] or k
end

local asides = {}
local record_algorithms = {} -- made on first use
local entries = {}

-- The error of a key that MGET shows as nil because it holds a foreign type.
local function foreign(slot)
  local typed = not values[slot] and not erased[slot] and redis.pcall('GET', KEYS[slot])
  return type(typed) == 'table' and typed.err
end

local function home_of(slot)
  local home = homes[slot]
  if not home then
    home = read_home(values[slot])
    home.failure = home.failure or foreign(slot)
    homes[slot] = home
  end
  return home
end

local function state_in(home, plan)
  local state = home[plan.id]
  if not state then
    state = plan.algorithm.load(home.texts[plan.id]) or { failure = UNREADABLE }
    home[plan.id] = state
  end
  return state
end

local function state_alone(slot, algorithm)
  local state = alone[slot]
  if not state then
    if algorithm.open then -- no string but a sorted set
      state = algorithm.open(not erased[slot] and KEYS[slot])
    else
      local failure = foreign(slot)
      state = failure and { failure = failure } or algorithm.load(values[slot])
    end
    state = state or { failure = UNREADABLE }
    alone[slot] = state
  end
  return state
end

local function is_crowded(home, ids)
  local count = #home.texts
  for i = 1, #ids do
    count = home.texts[ids[i]] == nil and count + 1 or count
  end
  return count > MAX_STATES and CROWDED
end

local function slot_of(entry, l)
  return slots[KEYS[entry.key + entry.shape[l].key_at - 1]]
end

local function changed(slot)
  first_change[slot] = first_change[slot] or out_at
end

local function fail(entry, message)
  for p = entry.at, entry.at + entry.shape.width - 1 do
    out[p] = message
  end
end

-- For `add` and `settle`, reads the receipts of the record's charges; false if one is unreadable.
local function is_readable(entry)
  local reserved, shape = entry.record, entry.shape
  if shape.verb == 'reserve' or shape.verb == 'recall' or shape.verb == 'grant' or reserved.ends <= now then
    return true
  end
  if reserved.settled then
    return shape.verb == 'add' or #reserved.charged * 2 == shape.head
  end
  for l = 1, #shape do
    if not reserved.algorithm.parse(reserved.pieces[l], shape[l].algorithm) then
      return false
    end
  end
  return true
end

local function erase(entry)
  for l = 1, #entry.shape do
    local slot, id = slot_of(entry, l), entry.shape[l].id
    if id then
      local home = home_of(slot)
      local plan = entry.shape[l]
      local state = plan.algorithm.reset and remembers_resets(home) and state_in(home, plan)
      if state and not state.failure and plan.algorithm.reset(state, plan) then
        note_change(home, id, plan.ids)
        state.changed = false
      else
        home.failure = false
        drop_state(home, id)
      end
    else
      values[slot], alone[slot], erased[slot] = false, nil, true
    end
    changed(slot)
    out[out_at + l - 1] = 1
  end
end

local function decide(entry)
  local shape = entry.shape
  for l = 1, #shape do
    local plan, slot = shape[l], slot_of(entry, l)
    local home = plan.id and home_of(slot)
    local state = home and state_in(home, plan) or state_alone(slot, plan.algorithm)
    local failure = home and home.failure or state.failure or plan.failure or home and is_crowded(home, plan.ids)
    if not failure and plan.algorithm.failure then -- what `open` could not see without the plan
      failure = plan.algorithm.failure(state, plan)
    end
    if failure then
      return fail(entry, failure)
    end
    entry[l] = state
  end
  if shape.recorded then
    local make = shape.recorded
    record_algorithms[make] = record_algorithms[make] or make()
    local reserved = state_alone(entry.record_slot, record_algorithms[make])
    entry.record = reserved
    local failure = reserved.failure or not is_readable(entry) and UNREADABLE
    if failure then
      return fail(entry, failure)
    end
  end
  verbs[shape.verb](entry)
  if shape.recorded then
    if entry.record.changed then
      changed(entry.record_slot)
    end
    if entry.told then
      asides[#asides + 1] = out_at - 1
      asides[#asides + 1] = entry.told
    end
  end
  local p = out_at + shape.head
  for l = 1, #shape do
    local plan, state = shape[l], entry[l]
    if state.changed then
      local slot = slot_of(entry, l)
      local home = homes[slot]
      changed(slot)
      if home then
        note_change(home, plan.id, plan.ids)
        state.changed = false -- so that the next change is noted as well
      end
    end
    if plan.width > 0 then
      local aside = entry.charged and entry.verdicts[l] and plan.algorithm.aside
      local mark = aside and aside(state, plan)
      if mark then
        asides[#asides + 1] = p - 1
        asides[#asides + 1] = mark
      end
      plan.algorithm.answer(state, plan, entry.verdicts[l], out, p)
    end
    p = p + plan.width
  end
end

while args_at <= #args do
  local shape, times = shapes[tonumber(args[args_at])], tonumber(args[args_at + 2])
  local last = key + tonumber(args[args_at + 1]) * shape.keys - 1
  args_at = args_at + 3
  while key <= last do
    for _ = 1, times do
      local entry = { shape = shape, key = key, at = out_at, details = args_at, verdicts = {} }
      if shape.recorded then
        entry.record_slot = slots[KEYS[key + shape.keys - 1]]
      end
      if shape.verb == 'reset' then
        erase(entry)
      else
        decide(entry)
      end
      entries[#entries + 1] = entry
      out_at, args_at = out_at + shape.width, args_at + shape.details
    end
    key = key + shape.keys
  end
end
