--[[
  The driver: decides several entries in order, each governed by one or several limits, all or nothing. Reads the
  state of every key, changes it, and leaves the writing to write.lua. Twin of decide.ts.

  In:   KEYS  the keys of every entry, in the order of the entries; a key may occur again. For `reserve` and
              `settle` the key of the reservation's record comes after those of the limits
        ARGV  after the shapes, which call-shape.lua reads, runs until the end: shape, key groups, entries on each
              group, and for each entry its details, which verbs.lua reads
  Out:  out       now, then per entry what verbs.lua answers; then per limit the integers of its algorithm, for
                  `reset` one, for `renew`, `release` and `settle` none; or, where the entry failed, a message in
                  each of its places
        entries   what went through `decide`: its shape, its place in `out`, its slots
        states, erased, first_change   by slot: the state, whether it was erased, and the place in `out` of the
                  entry that first changed it
        fail      puts a message in all places of an entry
]]
-- Tables by slot, as `states`: the place in KEYS at which a key occurs first.
local erased = {}
local first_change = {} -- the place in `out` of the entry that first changed this state

local slots = {}
for k = key, #KEYS do
  slots[KEYS[k]] = slots[KEYS[k]] or k
end

local RECORD -- made on first use
local entries = {} -- what went through `decide`: its shape, its place, its slots

local function state_of(slot, plan)
  if not states[slot] then
    local state
    if plan.algorithm.open then -- it is kept in another type than a string
      state = plan.algorithm.open(not erased[slot] and KEYS[slot])
    else
      if not values[slot] and not erased[slot] then
        local typed = redis.pcall('GET', KEYS[slot]) -- MGET shows a foreign type as nil
        if type(typed) == 'table' then
          state = { failure = typed.err }
        end
      end
      state = state or plan.algorithm.load(values[slot])
    end
    states[slot] = state or { failure = UNREADABLE }
  end
  return states[slot]
end

local function changed(slot)
  first_change[slot] = first_change[slot] or place
end

local function fail(entry, message)
  for p = entry.place, entry.place + entry.shape.width - 1 do
    out[p] = message
  end
end

-- What the record says was charged under each limit; false where one cannot be read.
local function parse_receipts(entry)
  local reserved = states[entry.record]
  reserved.parsed = {}
  for l = 1, #entry do
    local receipt = reserved.receipts[l] or ''
    reserved.parsed[l] = receipt == '-' and '-' or entry.shape[l].algorithm.parse(receipt)
    if not reserved.parsed[l] then
      return false
    end
  end
  return true
end

local function erase(entry)
  for l = 1, #entry do
    local slot = entry[l]
    values[slot], states[slot], erased[slot] = false, nil, true
    changed(slot)
    out[place + l - 1] = 1
  end
end

local function decide(entry)
  local shape = entry.shape
  for l = 1, #shape do
    local plan = shape[l]
    local state = state_of(entry[l], plan)
    local failure = state.failure or plan.failure
    if not failure and plan.algorithm.failure then -- what `open` could not see without the plan
      failure = plan.algorithm.failure(state, plan)
    end
    if failure then
      return fail(entry, failure)
    end
  end
  if entry.record then
    RECORD = RECORD or { algorithm = make_reservation_record() }
    local reserved = state_of(entry.record, RECORD)
    local failure = reserved.failure
    if not failure and shape.verb == 'settle' and reserved.ends > now and not reserved.settled then
      failure = not parse_receipts(entry) and UNREADABLE
    end
    if failure then
      return fail(entry, failure)
    end
  end
  verbs[shape.verb](entry)
  if entry.record and states[entry.record].changed then
    changed(entry.record)
  end
  local p = place + shape.head
  for l = 1, #shape do
    local plan, state = shape[l], states[entry[l]]
    if state.changed then
      changed(entry[l])
    end
    if plan.width > 0 then
      plan.algorithm.answer(state, plan, entry.verdicts[l], out, p)
    end
    p = p + plan.width
  end
end

while at <= #args do
  local shape, times = shapes[tonumber(args[at])], tonumber(args[at + 2])
  local last = key + tonumber(args[at + 1]) * shape.keys - 1
  at = at + 3
  while key <= last do
    for _ = 1, times do
      local entry = { shape = shape, place = place, details = at, verdicts = {} }
      for l = 1, #shape do
        entry[l] = slots[KEYS[key + l - 1]]
      end
      if shape.recorded then
        entry.record = slots[KEYS[key + #shape]]
      end
      if shape.verb == 'reset' then
        erase(entry)
      else
        decide(entry)
      end
      entries[#entries + 1] = entry
      place, at = place + shape.width, at + shape.details
    end
    key = key + shape.keys
  end
end
