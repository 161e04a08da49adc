--[[
  The driver: several entries in order, each governed by one or several limits, all or nothing. Reads the
  state of every key, decides, then writes each changed state once. Twin of decide.ts.

  In:   KEYS  the keys of every entry, in the order of the entries; a key may occur again
        ARGV  number of shapes; per shape the number of its limits, then per limit what is asked of it (charge,
              peek, shadow, shadow_peek, reset), its algorithm and that algorithm's arguments; then runs until the end:
              shape, key groups, entries on each group
  Out:  now, then per entry and limit the integers of its algorithm, or, where the entry failed, a message
        in each of their places
]]
local algorithms = {
  token_bucket = token_bucket,
  sliding_window = sliding_window,
  fixed_window = fixed_window,
}

-- What is asked of one limit, from ARGV[at] on, and the place behind it.
local function plan_of(at)
  local ask, algorithm = ARGV[at], algorithms[ARGV[at + 1]]
  if ask == 'reset' then
    return { ask = ask, width = 1 }, at + 1
  end
  local plan, next_at = algorithm.plan(at + 2)
  plan.ask, plan.algorithm = ask, algorithm
  plan.shadow = ask == 'shadow' or ask == 'shadow_peek'
  plan.charge = ask == 'charge' or ask == 'shadow'
  return plan, next_at
end

local shapes, at = {}, 2
for s = 1, tonumber(ARGV[1]) do
  local shape = { width = 0 }
  local limits = tonumber(ARGV[at])
  at = at + 1
  for l = 1, limits do
    shape[l], at = plan_of(at)
    shape.width = shape.width + shape[l].width
  end
  shape.plain = limits == 1 and shape[1].ask == 'charge' and shape[1].algorithm.plain
  shapes[s] = shape
end

-- Tables by slot: the place in KEYS at which a key occurs first.
local values = redis.call('MGET', unpack(KEYS))
local states, erased, failures = {}, {}, {}
local first_change = {} -- the place in `out` of the entry that first changed this state

local slots, distinct = {}, true
for k = 1, #KEYS do
  local key = KEYS[k]
  if slots[key] then
    distinct = false
  else
    slots[key] = k
  end
end

local out, place = { now }, 2
local entries = {} -- what went through `decide`: its shape, its place, its slots

local function state_of(slot, plan)
  if not states[slot] then
    local state
    if not values[slot] and not erased[slot] then
      local typed = redis.pcall('GET', KEYS[slot]) -- MGET shows a foreign type as nil
      if type(typed) == 'table' then
        state = { failure = typed.err }
      end
    end
    states[slot] = state or plan.algorithm.load(values[slot]) or { failure = UNREADABLE }
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

local function erase(entry)
  for l = 1, #entry do
    local slot = entry[l]
    values[slot], states[slot], erased[slot] = false, nil, true
    changed(slot)
    out[place + l - 1] = 1
  end
end

local function decide(entry)
  local shape, passes, verdicts = entry.shape, true, {}
  for l = 1, #shape do
    local failure = state_of(entry[l], shape[l]).failure or shape[l].failure
    if failure then
      return fail(entry, failure)
    end
  end
  for l = 1, #shape do
    verdicts[l] = shape[l].algorithm.judge(states[entry[l]], shape[l])
    passes = passes and (verdicts[l] or shape[l].shadow)
  end
  local p = place
  for l = 1, #shape do
    local plan, state = shape[l], states[entry[l]]
    if passes and verdicts[l] and plan.charge then
      plan.algorithm.charge(state, plan)
    end
    if state.changed then
      changed(entry[l])
    end
    plan.algorithm.answer(state, plan, verdicts[l], out, p)
    p = p + plan.width
  end
end

local key = 1
for run = at, #ARGV, 3 do
  local shape, times = shapes[tonumber(ARGV[run])], tonumber(ARGV[run + 2])
  local last = key + tonumber(ARGV[run + 1]) * #shape - 1
  while key <= last do
    if distinct and shape.plain then
      key, place = shape.plain(shape[1], key, last, times, values, out, place)
    end
    if key <= last then
      for _ = 1, times do
        local entry = { shape = shape, place = place }
        for l = 1, #shape do
          entry[l] = slots[KEYS[key + l - 1]]
        end
        if shape[1].ask == 'reset' then
          erase(entry)
        else
          decide(entry)
        end
        entries[#entries + 1] = entry
        place = place + shape.width
      end
      key = key + #shape
    end
  end
end

local any_failed = false
for slot = 1, #KEYS do
  if first_change[slot] then
    local state, written = states[slot], nil
    if state and state.changed then
      written = state.algorithm.save(KEYS[slot], state)
    else
      written = redis.pcall('DEL', KEYS[slot])
    end
    if type(written) == 'table' and written.err then
      failures[slot] = written.err
      any_failed = true
    end
  end
end

-- An answer that rests on a change which was not written is not true.
if any_failed then
  for e = 1, #entries do
    local entry = entries[e]
    for l = 1, #entry do
      local slot = entry[l]
      if failures[slot] and entry.place >= first_change[slot] then
        fail(entry, failures[slot])
      end
    end
  end
end

return out
