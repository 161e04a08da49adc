--[[
  What each verb does to the limits of one entry. Twin of verbs.ts.

  In:   an entry: its `shape`, the slot of each limit's state, that of its `record`, and where its `details` begin
        in `args`: for `refund` a mark per limit, '-' to leave it out; for `acquire`, `renew` and `release` the lease;
        for `reserve` the milliseconds until it expires; for `settle` the actual units, the milliseconds for which
        its result is kept, and 1 to charge also what was never reserved, or 0
        states  by slot, as the driver has loaded them
  Out:  states, changed as the verb says, and the entry's `verdicts`
        out     what the verb answers before its limits: the units granted where it is `up_to`; 1 or 0 where it is
                `renew` or `release`: whether the lease was held; for `settle` the units charged, or -1 where the
                record is gone, and those that were not
]]
local states = {}

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
