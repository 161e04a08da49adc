--[[
  The driver: decides entries in order, each under one or several limits, all or nothing. Loads the state of every
  key and changes it; write.lua writes. Twin of decide.ts.

  In:   KEYS  the keys of every entry, in the order of the entries; a key may occur again. For `reserve` and
              `settle` the key of the reservation record follows those of the limits
        ARGV  after the shapes runs until the end: index of a shape, number of key groups, entries per group; then for
              each entry its details, which verbs.lua reads
  Uses: now, UNREADABLE, values, out, key, out_at, make_reservation_record, shapes, args, args_at, states, verbs
  Out:  out       now; then per entry what verbs.lua answers, and per limit the integers of its algorithm (for `reset`
                  one integer, for `renew`, `release` and `settle` none); a failed entry has its message in all of its
                  indexes
        entries   per entry its shape, its index `at` in `out`, its slots
        states, erased, first_change   by slot: the state; whether `reset` erased it; the index in `out` of the entry
                  that first changed it
        fail      puts a message in all indexes of an entry
]]
-- A slot is the index in KEYS at which a key first occurs.
local erased = {}
local first_change = {}

local slots = {}
for k = key, #KEYS do
  slots[KEYS[k]] = slots[KEYS[k]] or k
end

local RECORD -- made on first use
local entries = {}

local function state_of(slot, plan)
  if not states[slot] then
    local state
    if plan.algorithm.open then -- the state is no string but a sorted set
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
  first_change[slot] = first_change[slot] or out_at
end

local function fail(entry, message)
  for p = entry.at, entry.at + entry.shape.width - 1 do
    out[p] = message
  end
end

-- Reads the record's receipts into `parsed`; false if one is unreadable.
local function parse_receipts(entry)
  local reserved = states[entry.record]
  reserved.parsed = {}
  for l = 1, #entry do
    local receipt = reserved.receipts[l] or ''
    if receipt == '-' or reserved.cost == 0 then -- an estimate of 0 has no receipt to give back by
      reserved.parsed[l] = receipt
    else
      reserved.parsed[l] = entry.shape[l].algorithm.parse(receipt)
    end
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
    out[out_at + l - 1] = 1
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
  local p = out_at + shape.head
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

while args_at <= #args do
  local shape, times = shapes[tonumber(args[args_at])], tonumber(args[args_at + 2])
  local last = key + tonumber(args[args_at + 1]) * shape.keys - 1
  args_at = args_at + 3
  while key <= last do
    for _ = 1, times do
      local entry = { shape = shape, at = out_at, details = args_at, verdicts = {} }
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
      out_at, args_at = out_at + shape.width, args_at + shape.details
    end
    key = key + shape.keys
  end
end
