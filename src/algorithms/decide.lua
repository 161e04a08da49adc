--[[
  The driver: several entries in order, each governed by one or several limits, all or nothing. Reads the
  state of every key, decides, then writes each changed state once. Twin of decide.ts.

  In:   KEYS  the keys of every entry, in the order of the entries; a key may occur again. For `reserve` and
              `settle` the key of the reservation's record comes after those of the limits
        ARGV  number of shapes; per shape a verb, units, number of details, number of limits, then per limit
              whether it is a shadow (1 or 0), its algorithm and that algorithm's arguments; then runs until the
              end: shape, key groups, entries on each group, and for each entry its details: for `refund` a mark
              per limit, '-' to leave it out; for `acquire`, `renew` and `release` the lease; for `reserve` the
              milliseconds until it expires; for `settle` the actual units, the milliseconds for which its result is
              kept, and 1 to charge also what was never reserved, or 0
        Or what lone.lua left over.
  Out:  now, then per entry the units granted where the verb is `up_to`, 1 or 0 where it is `renew` or `release`:
        whether the lease was held; then per limit the integers of its algorithm, for `reset` one, for `renew` and
        `release` none; for `settle` only the units charged, or -1 where the record is gone, and those that were
        not; or, where the entry failed, a message in each of its places
]]
local makers = {
  token_bucket = make_token_bucket,
  sliding_window = make_sliding_window,
  sliding_window_log = make_sliding_window_log,
  fixed_window = make_fixed_window,
  concurrency = make_concurrency,
  block = make_block,
}
local algorithms = {}

-- What a verb answers before its limits, and what each of them answers to it where that is not its algorithm's width.
local heads = { up_to = 1, renew = 1, release = 1, settle = 2 }
local widths = { reset = 1, renew = 0, release = 0, settle = 0 }
local recorded = { reserve = true, settle = true }

local args, at, shapes = ARGV, 2, {}
if #ARGV == 1 then
  -- What lone.lua left over: the same run, from the key at which it stopped.
  args = { '1', 'allow', '0', '0', '1', '0', 'token_bucket' }
  for number in string.gmatch(ARGV[1], '%d+') do
    args[#args + 1] = number
  end
  local times = table.remove(args)
  for _, number in ipairs({ '1', string.format('%d', #KEYS - key + 1), times }) do
    args[#args + 1] = number
  end
end
for s = 1, tonumber(args[1]) do
  local verb, limits = args[at], tonumber(args[at + 3])
  local shape = {
    verb = verb,
    units = tonumber(args[at + 1]),
    details = tonumber(args[at + 2]),
    head = heads[verb] or 0,
    recorded = recorded[verb],
    keys = recorded[verb] and limits + 1 or limits,
  }
  at = at + 4
  shape.width = shape.head
  for l = 1, limits do
    local name, shadow = args[at + 1], args[at] == '1'
    local algorithm = algorithms[name] or makers[name]()
    algorithms[name] = algorithm
    shape[l], at = algorithm.plan(args, at + 2)
    shape[l].algorithm, shape[l].shadow = algorithm, shadow
    shape[l].width = widths[verb] or shape[l].width
    shape.width = shape.width + shape[l].width
  end
  shapes[s] = shape
end

-- Tables by slot: the place in KEYS at which a key occurs first.
local states, erased, failures = {}, {}, {}
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

local function price(entry, units)
  for l = 1, #entry do
    entry.shape[l].algorithm.price(entry.shape[l], units)
  end
end

-- Whether every limit that is enforced lets the entry pass; notes each one's verdict.
local function judge(entry)
  local passes = true
  for l = 1, #entry do
    local plan = entry.shape[l]
    entry.verdicts[l] = plan.algorithm.judge(states[entry[l]], plan)
    passes = passes and (entry.verdicts[l] or plan.shadow)
  end
  return passes
end

local function charge(entry)
  for l = 1, #entry do
    if entry.verdicts[l] then
      entry.shape[l].algorithm.charge(states[entry[l]], entry.shape[l])
    end
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

local verbs = { peek = judge }

function verbs.allow(entry)
  if judge(entry) then
    charge(entry)
  end
end

function verbs.up_to(entry)
  local granted = entry.shape.units
  price(entry, 1)
  judge(entry)
  for l = 1, #entry do
    local plan = entry.shape[l]
    if not plan.shadow then
      granted = math.min(granted, plan.algorithm.fits(states[entry[l]], plan))
    end
  end
  if granted > 0 then
    price(entry, granted)
    judge(entry)
    charge(entry)
  end
  out[place] = granted
end

function verbs.penalize(entry)
  price(entry, entry.shape.units)
  judge(entry)
  for l = 1, #entry do
    entry.shape[l].algorithm.penalize(states[entry[l]], entry.shape[l])
  end
  price(entry, 1)
  judge(entry)
end

function verbs.refund(entry)
  price(entry, entry.shape.units)
  judge(entry)
  for l = 1, #entry do
    local mark = args[entry.details + l - 1]
    if mark ~= '-' then
      entry.shape[l].algorithm.refund(states[entry[l]], entry.shape[l], tonumber(mark))
    end
  end
  price(entry, 1)
  judge(entry)
end

local function name_lease(entry)
  for l = 1, #entry do
    entry.shape[l].lease = args[entry.details]
  end
end

-- Under how many limits the lease is held; nil where one that is enforced lends it no place.
local function holds(entry)
  local count = 0
  for l = 1, #entry do
    local plan = entry.shape[l]
    if plan.algorithm.holds then
      if plan.algorithm.holds(states[entry[l]], plan) then
        count = count + 1
      elseif not plan.shadow then
        return nil
      end
    end
  end
  return count
end

local function extend(entry)
  for l = 1, #entry do
    local plan = entry.shape[l]
    if plan.algorithm.holds and plan.algorithm.holds(states[entry[l]], plan) then
      plan.algorithm.charge(states[entry[l]], plan)
    end
  end
end

function verbs.acquire(entry)
  name_lease(entry)
  local again = (holds(entry) or 0) > 0
  local passes = judge(entry)
  if again then
    -- The same call, whose first answer was lost: it has its place, and what it costs was charged then.
    for l = 1, #entry do
      entry.verdicts[l] = entry.verdicts[l] or not entry.shape[l].shadow
    end
    extend(entry)
  elseif passes then
    charge(entry)
  end
end

function verbs.renew(entry)
  name_lease(entry)
  local held = holds(entry)
  if held then
    extend(entry)
  end
  out[place] = held and 1 or 0
end

function verbs.release(entry)
  name_lease(entry)
  out[place] = holds(entry) and 1 or 0
  for l = 1, #entry do
    entry.shape[l].algorithm.release(states[entry[l]], entry.shape[l])
  end
end

function verbs.reserve(entry)
  local reserved = states[entry.record]
  local passes = judge(entry)
  if reserved.ends > now then
    -- It came before: the client sent it again. Or it comes after its own settlement.
    for l = 1, #entry do
      entry.verdicts[l] = true
    end
  elseif passes then
    charge(entry)
    local receipts = {}
    for l = 1, #entry do
      local plan = entry.shape[l]
      receipts[l] = entry.verdicts[l] and plan.algorithm.receipt(states[entry[l]], plan) or '-'
    end
    reserved.ends = now + tonumber(args[entry.details]) * 1000
    reserved.settled, reserved.cost, reserved.receipts = false, entry.shape.units, receipts
    reserved.changed = true
  end
end

-- Takes what fits of `units`, debt included, and returns how many did not.
local function take_on(entry, l, units)
  local plan, state = entry.shape[l], states[entry[l]]
  local taken = math.min(units, plan.algorithm.room(state, plan))
  if taken > 0 then
    plan.algorithm.price(plan, taken)
    plan.algorithm.judge(state, plan)
    plan.algorithm.charge(state, plan)
  end
  return units - taken
end

function verbs.settle(entry)
  local reserved, actual = states[entry.record], tonumber(args[entry.details])
  local held = reserved.ends > now
  if held and reserved.settled then
    out[place], out[place + 1] = reserved.charged, reserved.uncharged
    return
  end
  if not held and args[entry.details + 2] ~= '1' then
    out[place], out[place + 1] = -1, 0
    return
  end
  price(entry, 1)
  judge(entry)
  local estimate, uncharged = held and reserved.cost or 0, 0
  for l = 1, #entry do
    local plan, receipt = entry.shape[l], held and reserved.parsed[l]
    -- A limit that was not charged is not concerned.
    if receipt ~= '-' and actual > estimate then
      local missing = take_on(entry, l, actual - estimate)
      uncharged = plan.shadow and uncharged or math.max(uncharged, missing)
    elseif receipt ~= '-' and actual < estimate then
      plan.algorithm.restore(states[entry[l]], plan, receipt, estimate - actual)
    end
  end
  reserved.ends = now + tonumber(args[entry.details + 1]) * 1000
  reserved.settled, reserved.charged, reserved.uncharged = true, actual - uncharged, uncharged
  reserved.changed = true
  out[place], out[place + 1] = reserved.charged, uncharged
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
    RECORD = RECORD or { algorithm = make_record() }
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

local any_failed, on_replica = false, nil

local function write(slot)
  local state, written = states[slot], nil
  local saves = state and state.changed
  if erased[slot] and not (saves and not state.algorithm.open) then -- a string is overwritten as it is
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

-- What is settled must be on record before it takes effect: it would take effect again when it is tried again.
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

-- A replica decides nothing: said as the server says it, so that the client looks for the primary.
if on_replica then
  return redis.error_reply(on_replica)
end

-- An answer that rests on a change which was not written is not true, nor is a record of it.
if any_failed then
  for e = 1, #entries do
    local entry = entries[e]
    local record = entry.record
    for l = 1, #entry do
      local slot = entry[l]
      if failures[slot] and entry.place >= first_change[slot] then
        fail(entry, failures[slot])
        if record and first_change[record] and not failures[record] then
          redis.pcall('DEL', KEYS[record])
        end
      end
    end
    if record and failures[record] and entry.place >= first_change[record] then
      fail(entry, failures[record])
    end
  end
end

return out
