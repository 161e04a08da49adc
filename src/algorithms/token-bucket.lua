--[[
  token_bucket: the generic cell rate algorithm (GCRA) on exact integers. Twin of token-bucket.ts.

  The state is one number per identity: the theoretical arrival time (tat), the instant at which the bucket is full
  again, in whole microseconds plus rem/n of one. A call passes iff tat + cost <= now + burst.

  In:   ARGV  n, p (a unit recovers in p/n us), burst, burst_rem, ceiling, ceiling_rem, cost, cost_rem; durations are
              whole microseconds, each with its remainder in n-ths of one. For a plan that was passed with a call:
              before these 'beside', then n, p, the burst and the debt in units of the limiter's own limit, or zeros
              if it has none
        value 'tat' | 'tat:rem:n' | 'tat:rem:n:sliced:until' while processes hold slices | the long form of bucket-lines.lua, or none for a full bucket
  Uses: now, FIRST_INEXACT, JITTER, MAX_UNITS, recovery, units_within, make_bucket_lines
  Out:  tat - now after the decision; or, if it refuses, -1 - (tat - now)
        rem, if n > 1
]]
local token_bucket = {}

-- Made on first use: most states are plain.
local function bucket_lines()
  token_bucket.lines = token_bucket.lines or make_bucket_lines()
  return token_bucket.lines
end

function token_bucket.plan(args, at)
  local is_own, beside = args[at] ~= 'beside', nil
  if not is_own then
    if args[at + 1] ~= '0' then
      beside = {
        n = tonumber(args[at + 1]),
        p = tonumber(args[at + 2]),
        units = tonumber(args[at + 3]),
        debt = tonumber(args[at + 4]),
        top = false,
      }
    end
    at = at + 5
  end
  local plan = {
    n = tonumber(args[at]),
    p = tonumber(args[at + 1]),
    burst = tonumber(args[at + 2]),
    burst_rem = tonumber(args[at + 3]),
    ceiling = tonumber(args[at + 4]),
    ceiling_rem = tonumber(args[at + 5]),
    cost = tonumber(args[at + 6]),
    cost_rem = tonumber(args[at + 7]),
    is_own = is_own,
    beside = beside,
    top = false,
    charge = false,
  }
  plan.width = plan.n > 1 and 2 or 1
  return plan, at + 8
end

function token_bucket.price(plan, units)
  plan.charge = units
  plan.cost, plan.cost_rem = recovery(units, plan)
end

function token_bucket.load(value)
  local tat, rem, n = value or '0', '0', '1'
  local long, sliced, sliced_until = false, nil, nil
  if not string.find(tat, '^%d+$') then
    tat, rem, n = string.match(value, '^(%d+):(%d+):(%d+)$')
    if not tat then
      tat, rem, n, sliced, sliced_until = string.match(value, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
    end
    if not tat then
      long, tat, rem, n = true, '0', '0', '1'
    end
  end
  tat, rem, n = tonumber(tat), tonumber(rem), tonumber(n)
  if tat >= FIRST_INEXACT or n > MAX_UNITS or rem >= n then
    return nil
  end
  -- Sets all fields of a plain state at once: a table that grows later costs as much again.
  local state = {
    tat = tat,
    rem = rem,
    n = n,
    lines = false,
    sliced = false,
    sliced_until = 0,
    from = tat,
    from_rem = rem,
    to = tat,
    to_rem = rem,
    changed = false,
    algorithm = token_bucket,
  }
  if long and not bucket_lines().read(state, value) then
    return nil
  end
  if sliced then
    bucket_lines().note_slices(state, tonumber(sliced), tonumber(sliced_until))
  end
  return state
end

-- Whether the unlabelled line is the only one, and the plan's own.
local function is_plain(state, plan)
  return not state.lines and plan.is_own
end

-- Whether this limit lets the call pass. Changes the state only as bucket-lines.lua says.
function token_bucket.judge(state, plan)
  local is_found = false
  if is_plain(state, plan) then
    local tat, rem = state.tat, state.rem
    if state.n ~= plan.n and rem > 0 then
      tat, rem = tat + 1, 0 -- n-ths of another size: rounded against the caller, by less than 1 us
    end
    if tat < now then
      tat, rem = now, 0
    end
    state.from, state.from_rem = tat, rem
    is_found = tat < now + plan.ceiling + JITTER
  end
  if not is_found then
    bucket_lines().find(state, plan)
  end
  local new, new_rem = state.from + plan.cost, state.from_rem + plan.cost_rem
  if new_rem >= plan.n then
    new, new_rem = new + 1, new_rem - plan.n
  end
  state.to, state.to_rem = new, new_rem
  local top = now + plan.burst
  return new < top or (new == top and new_rem <= plan.burst_rem)
end

-- Sets the plan's arrival time after its cost.
local function set(state, plan, tat, rem)
  if not is_plain(state, plan) then
    return bucket_lines().charge(state, plan, tat, rem)
  end
  state.from, state.from_rem = tat, rem
  state.tat, state.rem, state.n = tat, rem, plan.n
  state.changed = true
end

-- Charges the cost that `judge` let pass.
function token_bucket.charge(state, plan)
  if plan.cost > 0 or plan.cost_rem > 0 then
    set(state, plan, state.to, state.to_rem)
  end
end

function token_bucket.refuse(state, plan)
  if not plan.is_own then
    bucket_lines().refuse(state, plan)
  end
end

-- The most units that `judge` would let pass now.
function token_bucket.fits(state, plan)
  return units_within(now + plan.burst - state.from, plan.burst_rem - state.from_rem, plan)
end

-- The most units that can still be charged, debt included.
function token_bucket.room(state, plan)
  return units_within(now + plan.ceiling - state.from, plan.ceiling_rem - state.from_rem, plan)
end

-- Charges the cost even if it does not fit, into debt up to the ceiling.
function token_bucket.penalize(state, plan)
  local tat, rem = state.to, state.to_rem
  local top = now + plan.ceiling
  if tat > top or (tat == top and rem > plan.ceiling_rem) then
    tat, rem = top, plan.ceiling_rem
  end
  if tat > state.from or (tat == state.from and rem > state.from_rem) then
    set(state, plan, tat, rem)
  elseif not is_plain(state, plan) then
    set(state, plan, state.from, state.from_rem)
  end
end

-- Gives the cost back, and never more than the charge of this mark still holds back.
function token_bucket.refund(state, plan, mark)
  local receipt = token_bucket.parse(mark)
  if receipt then
    token_bucket.restore(state, plan, receipt, plan.charge)
  end
end

function token_bucket.charge_slice(state, plan, tat, rem, ends)
  bucket_lines().charge_slice(state, plan, tat, rem, ends)
end

function token_bucket.receipt(state, plan)
  return bucket_lines().receipt(state, plan)
end

function token_bucket.parse(receipt)
  return bucket_lines().parse(receipt)
end

function token_bucket.restore(state, plan, receipt, units)
  bucket_lines().restore(state, plan, receipt, units)
end

function token_bucket.credit(state, plan, units)
  bucket_lines().credit(state, plan, units)
end

function token_bucket.reset(state, plan)
  return bucket_lines().reset(state, plan)
end

function token_bucket.answer(state, plan, passes, out, at)
  local ahead = state.from - now
  out[at] = passes and ahead or -1 - ahead
  if plan.n > 1 then
    out[at + 1] = state.from_rem
  end
end

-- The mark of the charge just made, if the integers of the answer do not tell it.
function token_bucket.aside(state, plan)
  if plan.cost == 0 and plan.cost_rem == 0 or is_plain(state, plan) then
    return nil
  end
  return token_bucket.receipt(state, plan)
end

function token_bucket.encode(state)
  if state.lines then
    return bucket_lines().write(state), state.rests
  elseif state.sliced then
    local text = string.format('%d:%d:%d:%d:%d', state.tat, state.rem, state.n, state.sliced, state.sliced_until)
    return text, state.rem > 0 and state.tat + 1 or state.tat
  elseif state.rem > 0 then
    return string.format('%d:%d:%d', state.tat, state.rem, state.n), state.tat + 1
  end
  return string.format('%d', state.tat), state.tat
end
