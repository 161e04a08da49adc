--[[
  Does to the limits of one entry what its verb says. Twin of verbs.ts.

  In:   an entry: the states of its limits, in order; its `shape`; the state of its `record`; and `details`, the index in
        `args` of what the verb needs for this entry alone:
          refund                  a mark per limit, '-' to leave the limit out
          acquire, renew, release the lease
          reserve                 the milliseconds until the reservation expires
          add                     its number among those of its handle, from 1; behind the handle and a colon if that
                                  was resumed
          grant                   the process, the units that it expects to spend, or where units differ such calls, and two
                                  times as in slicing.lua
          settle                  the actual units, one number or one per limit, '-' for what it was reserved; the
                                  milliseconds for which the result is kept at least; 1 to charge units that were never
                                  reserved, else 0
  Uses: out, out_at, args, now, make_slicing
  Out:  verbs   change the entry's states, and set its `verdicts` and whether it was `charged`
        out     what the verb answers before its limits:
          up_to           the units granted
          renew, release  1 if the lease was held, else 0
          add             1 if the reservation was held, else 0
          recall          1 if there is a record, else 0; the entry's `told` is what it says
          grant           the units of the slice, or how many such calls it is where units differ, and when it ends after
                          now; per limit where it begins after now, microseconds and n-ths
          settle          the units charged, or -1 if the record is gone; then the units that did not fit: of the
                          call, or of each limit in turn if their units differ
]]
local function price(entry, units)
  for l = 1, #entry.shape do
    entry.shape[l].algorithm.price(entry.shape[l], units)
  end
end

-- Each limit at the units that are asked of it.
local function price_asked(entry)
  for l = 1, #entry.shape do
    entry.shape[l].algorithm.price(entry.shape[l], entry.shape[l].asks)
  end
end

-- Whether every enforced limit lets the entry pass. Notes the verdict of each limit.
local function judge(entry)
  local passes = true
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    entry.verdicts[l] = plan.algorithm.judge(entry[l], plan) or not plan.asks
    passes = passes and (entry.verdicts[l] or plan.shadow)
  end
  return passes
end

-- Charges the limits that let the entry pass. A cost of 0 takes places, and no units.
local function charge(entry)
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if entry.verdicts[l] and ((plan.asks or 0) > 0 or plan.algorithm.holds) then
      plan.algorithm.charge(entry[l], plan)
    end
  end
  entry.charged = true
end

-- Tells each limit that refused the entry.
local function refuse(entry)
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if not entry.verdicts[l] and plan.algorithm.refuse then
      plan.algorithm.refuse(entry[l], plan)
    end
  end
end

-- Counts a refusal for bans, which are the last rules.
local function count_for_bans(entry)
  local watch = entry.shape[#entry.shape].algorithm.watch
  if watch then
    watch(entry)
  end
end

local verbs = { peek = judge }

function verbs.allow(entry)
  if judge(entry) then
    charge(entry)
  end
  refuse(entry)
  count_for_bans(entry)
end

function verbs.up_to(entry)
  local granted = entry.shape.units
  price(entry, 1)
  judge(entry)
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if not plan.shadow then
      granted = math.min(granted, plan.algorithm.fits(entry[l], plan))
    end
  end
  if granted > 0 then
    price(entry, granted)
    judge(entry)
    charge(entry)
  end
  refuse(entry)
  count_for_bans(entry)
  out[out_at] = granted
end

function verbs.penalize(entry)
  price_asked(entry)
  judge(entry)
  for l = 1, #entry.shape do
    if entry.shape[l].asks > 0 then
      entry.shape[l].algorithm.penalize(entry[l], entry.shape[l])
    end
  end
  price(entry, 1)
  judge(entry)
end

function verbs.credit(entry)
  judge(entry)
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if plan.asks > 0 and plan.algorithm.credit then
      plan.algorithm.credit(entry[l], plan, plan.asks)
    end
  end
  price(entry, 1)
  judge(entry)
end

function verbs.refund(entry)
  price_asked(entry)
  judge(entry)
  for l = 1, #entry.shape do
    local mark = args[entry.details + l - 1]
    if mark ~= '-' and entry.shape[l].asks > 0 then
      entry.shape[l].algorithm.refund(entry[l], entry.shape[l], tonumber(mark) or mark)
    end
  end
  price(entry, 1)
  judge(entry)
end

local function name_lease(entry)
  for l = 1, #entry.shape do
    entry.shape[l].lease = args[entry.details]
  end
end

-- The number of limits under which the lease is held; nil if an enforced limit does not hold it.
local function holds(entry)
  local count = 0
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if plan.algorithm.holds then
      if plan.algorithm.holds(entry[l], plan) then
        count = count + 1
      elseif not plan.shadow then
        return nil
      end
    end
  end
  return count
end

local function extend(entry)
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    if plan.algorithm.holds and plan.algorithm.holds(entry[l], plan) then
      plan.algorithm.charge(entry[l], plan)
    end
  end
end

function verbs.acquire(entry)
  name_lease(entry)
  local again = (holds(entry) or 0) > 0
  local passes = judge(entry)
  if again then
    -- A resent call, whose first answer was lost: it has its place, and its cost was charged then.
    for l = 1, #entry.shape do
      entry.verdicts[l] = entry.verdicts[l] or not entry.shape[l].shadow
    end
    extend(entry)
  elseif passes then
    charge(entry)
  end
  refuse(entry)
  if not again then
    count_for_bans(entry)
  end
end

-- How many of a limit's own units each unit of a slice is.
local function times(shape, l)
  return shape.units and 1 or shape[l].asks
end

-- The most units of a slice that every limit gives.
local function least(entry, slicing, step, request)
  local want = request.want
  local most = want
  for l = 1, #entry.shape do
    local plan = entry.shape[l]
    local its = slicing[plan.algorithm_name]
    if its then
      request.cost, request.want = plan.asks, want * times(entry.shape, l)
      most = math.min(most, math.floor(its[step](entry[l], plan, request) / times(entry.shape, l)))
    end
  end
  request.want = want
  return most
end

function verbs.grant(entry)
  local passes, shape, at = judge(entry), entry.shape, entry.details
  if passes then
    charge(entry)
  end
  refuse(entry)
  local slicing, list, process = make_slicing(), entry.record, args[at]
  local request = { want = tonumber(args[at + 1]), hold = tonumber(args[at + 2]), ahead = tonumber(args[at + 3]) }
  request.holders = list.algorithm.count(list, process)
  local units, is_blocked, ends = 0, false, math.huge
  for l = 1, #shape do
    is_blocked = is_blocked or not (entry.verdicts[l] or slicing[shape[l].algorithm_name])
  end
  if passes then
    units = least(entry, slicing, 'offer', request)
  end
  if units == 0 and request.ahead > 0 and not is_blocked then
    units = least(entry, slicing, 'turn', request)
  end
  for l = 1, #shape do
    local its = slicing[shape[l].algorithm_name]
    if its and units * times(shape, l) < shape[l].asks then
      units = 0
    end
    ends = its and math.min(ends, its.ends(entry[l], shape[l], request)) or ends
  end
  out[out_at], out[out_at + 1] = units, units > 0 and ends - now or 0
  local opens = {}
  for l = 1, units > 0 and #shape or 0 do
    local its = slicing[shape[l].algorithm_name]
    opens[l] = its and its.opens(entry[l], shape[l], units * times(shape, l), request) or now
  end
  for l = 1, #shape do
    local its, int, rem, others = slicing[shape[l].algorithm_name], 0, 0, now
    for o = 1, #opens do
      others = o ~= l and math.max(others, opens[o]) or others
    end
    if its and units > 0 then
      int, rem = its.cut(entry[l], shape[l], units * times(shape, l), request, others, ends)
    end
    out[out_at + 2 * l], out[out_at + 2 * l + 1] = int, rem
  end
  if units > 0 then
    list.algorithm.note(list, process, ends)
  end
end

function verbs.renew(entry)
  name_lease(entry)
  local held = holds(entry)
  if held then
    extend(entry)
  end
  out[out_at] = held and 1 or 0
end

function verbs.release(entry)
  name_lease(entry)
  out[out_at] = holds(entry) and 1 or 0
  for l = 1, #entry.shape do
    entry.shape[l].algorithm.release(entry[l], entry.shape[l])
  end
end

-- Lets a resent call pass as the first one did: a shadow that refused the estimate refuses it again.
local function pass_again(entry)
  local reserved = entry.record
  for l = 1, #entry.shape do
    local pieces = reserved.pieces[l]
    entry.verdicts[l] = not entry.shape[l].shadow or not pieces or reserved.algorithm.is_charged(pieces)
  end
end

function verbs.reserve(entry)
  local reserved = entry.record
  local passes, again = judge(entry), reserved.ends > now
  if again then
    -- The client resent the call, or it arrives after its own settlement.
    pass_again(entry)
  elseif passes then
    charge(entry)
    reserved.pieces = {}
    for l = 1, #entry.shape do
      reserved.pieces[l] = reserved.algorithm.first(entry[l], entry.shape[l], entry.verdicts[l])
    end
    reserved.ends = now + tonumber(args[entry.details]) * 1000
    reserved.settled, reserved.adds, reserved.changed = false, reserved.algorithm.NO_ADDS, true
    reserved.told = entry.shape.told
  end
  refuse(entry)
  if not again then
    count_for_bans(entry)
  end
end

-- Charges as many of `units` as fit, debt included. Returns how many did not fit.
local function take_on(entry, l, units)
  local plan, state = entry.shape[l], entry[l]
  local taken = math.min(units, plan.algorithm.room(state, plan))
  if taken > 0 then
    plan.algorithm.price(plan, taken)
    plan.algorithm.judge(state, plan)
    plan.algorithm.charge(state, plan)
  end
  return units - taken
end

-- Gives back `units` of the charges, the newest first.
local function give_back(entry, l, pieces, units)
  for p = #pieces, 1, -1 do
    local part = math.min(units, pieces[p].units)
    if pieces[p].parsed and part > 0 then
      entry.shape[l].algorithm.restore(entry[l], entry.shape[l], pieces[p].parsed, part)
    end
    units = units - part
  end
end

function verbs.add(entry)
  local reserved = entry.record
  local passes, add = judge(entry), args[entry.details]
  if reserved.ends <= now or reserved.settled then
    out[out_at] = 0
    return
  end
  if reserved.algorithm.is_added(reserved.adds, add) then
    -- A resent call, whose first answer was lost.
    pass_again(entry)
  elseif passes then
    local record, all = reserved.algorithm, {}
    for l = 1, #entry.shape do
      local plan, pieces = entry.shape[l], reserved.pieces[l]
      if entry.verdicts[l] and (plan.asks or 0) > 0 and record.is_charged(pieces) then
        plan.algorithm.charge(entry[l], plan)
        pieces = record.add(pieces, { units = plan.asks, receipt = plan.algorithm.receipt(entry[l], plan) })
      end
      all[l] = pieces
    end
    reserved.pieces, reserved.adds, reserved.changed = all, record.with_add(reserved.adds, add), true
  end
  refuse(entry)
  out[out_at] = 1
end

local function answer_settled(charged, uncharged)
  for i = 1, #charged do
    out[out_at + 2 * i - 2], out[out_at + 2 * i - 1] = charged[i], uncharged[i]
  end
end

function verbs.recall(entry)
  entry.told = entry.record.algorithm.tell(entry.record)
  out[out_at] = entry.told and 1 or 0
end

function verbs.settle(entry)
  local reserved, actuals = entry.record, {}
  for text in string.gmatch(args[entry.details], '[^,]+') do
    actuals[#actuals + 1] = text
  end
  local held = reserved.ends > now
  if held and reserved.settled then
    return answer_settled(reserved.charged, reserved.uncharged)
  end
  local charged, uncharged = {}, {}
  if not held and args[entry.details + 2] ~= '1' then
    for i = 1, #actuals do
      charged[i], uncharged[i] = -1, 0
    end
    return answer_settled(charged, uncharged)
  end
  price(entry, 1)
  judge(entry)
  local most = 0
  for l = 1, #entry.shape do
    local plan, pieces = entry.shape[l], held and reserved.pieces[l] or {}
    local estimate, missing = reserved.algorithm.units_of(pieces), 0
    local actual = tonumber(actuals[#actuals == 1 and 1 or l]) or estimate
    -- A limit that was not charged for the estimate stays as it is.
    if #pieces == 0 or reserved.algorithm.is_charged(pieces) then
      if actual > estimate then
        missing = take_on(entry, l, actual - estimate)
      else
        give_back(entry, l, pieces, estimate - actual)
      end
    end
    charged[l], uncharged[l] = actual - missing, missing
    most = plan.shadow and most or math.max(most, missing)
  end
  if #actuals == 1 then
    charged, uncharged = { charged[1] + uncharged[1] - most }, { most }
  end
  reserved.ends = math.max(reserved.ends, now + tonumber(args[entry.details + 1]) * 1000)
  reserved.settled, reserved.pieces, reserved.charged, reserved.uncharged = true, {}, charged, uncharged
  reserved.told, reserved.changed = entry.shape.told, true
  answer_settled(charged, uncharged)
end
