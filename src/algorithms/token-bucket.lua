--[[
  token_bucket: the generic cell rate algorithm (GCRA) on exact integers. Twin of token-bucket.ts.

  The state is one number per identity: the theoretical arrival time (tat), the instant at which the bucket is full
  again, in whole microseconds plus rem/n of one. A call passes iff tat + cost <= now + burst.

  In:   ARGV  n, p (a unit recovers in p/n us), burst, burst_rem, ceiling, ceiling_rem, cost, cost_rem; durations are
              whole microseconds, each with its remainder in n-ths of one
        value 'tat' | 'tat:rem:n' | 'rests:rem:n:tat:pardon', or none for a full bucket
  Uses: now, FIRST_INEXACT, JITTER
  Out:  tat - now after the decision; or, if it refuses, -1 - (tat - now)
        rem, if n > 1
]]
local token_bucket = {}

function token_bucket.plan(args, at)
  local plan = {
    n = tonumber(args[at]),
    p = tonumber(args[at + 1]),
    burst = tonumber(args[at + 2]),
    burst_rem = tonumber(args[at + 3]),
    ceiling = tonumber(args[at + 4]),
    ceiling_rem = tonumber(args[at + 5]),
    cost = tonumber(args[at + 6]),
    cost_rem = tonumber(args[at + 7]),
  }
  plan.width = plan.n > 1 and 2 or 1
  return plan, at + 8
end

-- The time in which `units` recover: whole microseconds, and n-ths of one.
local function recovery(plan, units)
  local part = plan.p % plan.n
  local parts = units * part
  local rem = parts % plan.n
  return units * ((plan.p - part) / plan.n) + (parts - rem) / plan.n, rem
end

function token_bucket.price(plan, units)
  plan.cost, plan.cost_rem = recovery(plan, units)
end

function token_bucket.load(value)
  local tat, rem, n, pardon = value or '0', '0', '1', '0'
  if not string.find(tat, '^%d+$') then
    tat, rem, n = string.match(value, '^(%d+):(%d+):(%d+)$')
    if not tat then
      rem, n, tat, pardon = string.match(value, '^%d+:(%d+):(%d+):(%d+):(%d+)$')
    end
    if not tat then
      return nil
    end
  end
  tat, rem, n, pardon = tonumber(tat), tonumber(rem), tonumber(n), tonumber(pardon)
  if tat >= FIRST_INEXACT or n >= FIRST_INEXACT or pardon >= FIRST_INEXACT or rem >= n then
    return nil
  end
  -- Sets all fields at once: a table that grows later costs as much again.
  return {
    tat = tat,
    rem = rem,
    n = n,
    pardon = pardon,
    from = tat,
    from_rem = rem,
    to = tat,
    to_rem = rem,
    changed = false,
    algorithm = token_bucket,
  }
end

-- Whether this limit lets the call pass. Changes the state only by a pardon: a tat too far ahead is cut once.
function token_bucket.judge(state, plan)
  local tat, rem = state.tat, state.rem
  if state.n ~= plan.n and rem > 0 then
    tat, rem = tat + 1, 0 -- n-ths of another size: rounded against the caller, by less than 1 us
  end
  if tat < now then
    tat, rem = now, 0
  end
  local over = tat - now - plan.ceiling
  if
    (over > JITTER or (over == JITTER and rem > plan.ceiling_rem))
    and state.pardon <= now
  then
    state.pardon = rem > 0 and tat + 1 or tat
    tat, rem = now + plan.ceiling, plan.ceiling_rem
    state.tat, state.rem, state.n = tat, rem, plan.n
    state.changed = true
  end
  state.from, state.from_rem = tat, rem
  local new, new_rem = tat + plan.cost, rem + plan.cost_rem
  if new_rem >= plan.n then
    new, new_rem = new + 1, new_rem - plan.n
  end
  state.to, state.to_rem = new, new_rem
  local top = now + plan.burst
  return new < top or (new == top and new_rem <= plan.burst_rem)
end

-- Charges the cost that `judge` let pass.
function token_bucket.charge(state, plan)
  state.tat, state.rem, state.n = state.to, state.to_rem, plan.n
  state.from, state.from_rem = state.to, state.to_rem
  state.changed = true
end

-- The most units whose recovery is at most int + rem/n us; rem may be negative.
local function units_within(plan, int, rem)
  if rem < 0 then
    int, rem = int - 1, rem + plan.n
  end
  local function fit(units)
    local needed, needed_rem = recovery(plan, units)
    return needed < int or (needed == int and needed_rem <= rem)
  end
  -- The product may exceed 2^53. The estimate is then off by about one, and the exact comparisons below correct it.
  local units = math.max(0, math.floor((int * plan.n + rem) / plan.p))
  while units > 0 and not fit(units) do
    units = units - 1
  end
  while fit(units + 1) do
    units = units + 1
  end
  return units
end

-- The most units that `judge` would let pass now.
function token_bucket.fits(state, plan)
  return units_within(plan, now + plan.burst - state.from, plan.burst_rem - state.from_rem)
end

-- The most units that can still be charged, debt included.
function token_bucket.room(state, plan)
  return units_within(plan, now + plan.ceiling - state.from, plan.ceiling_rem - state.from_rem)
end

-- Charges the cost even if it does not fit, into debt up to the ceiling.
function token_bucket.penalize(state, plan)
  local tat, rem = state.to, state.to_rem
  local top = now + plan.ceiling
  if tat > top or (tat == top and rem > plan.ceiling_rem) then
    tat, rem = top, plan.ceiling_rem
  end
  if tat > state.from or (tat == state.from and rem > state.from_rem) then
    state.tat, state.rem, state.n, state.changed = tat, rem, plan.n, true
  end
end

-- Gives the cost back, and never more than is charged.
function token_bucket.refund(state, plan)
  local tat, rem = state.from - plan.cost, state.from_rem - plan.cost_rem
  if rem < 0 then
    tat, rem = tat - 1, rem + plan.n
  end
  if tat < now then
    tat, rem = now, 0
  end
  if state.from > now or state.from_rem > 0 then
    state.tat, state.rem, state.n, state.changed = tat, rem, plan.n, true
  end
end

-- The time in which a unit recovered when it was charged: the limit may change before the unit is given back.
function token_bucket.receipt(_, plan)
  return string.format('%d:%d', plan.p, plan.n)
end

function token_bucket.parse(receipt)
  local p, n = string.match(receipt, '^(%d+):(%d+)$')
  p, n = tonumber(p), tonumber(n)
  if not n or p >= FIRST_INEXACT or n >= FIRST_INEXACT or n == 0 then
    return nil
  end
  return { p = p, n = n }
end

-- Gives back `units` of the receipt's charge, and never more than is charged.
function token_bucket.restore(state, plan, receipt, units)
  plan.cost, plan.cost_rem = recovery(receipt, units)
  if receipt.n ~= plan.n then
    plan.cost_rem = 0 -- n-ths of another size: rounded against the caller, by less than 1 us
  end
  token_bucket.refund(state, plan)
end

function token_bucket.answer(state, plan, passes, out, at)
  local ahead = state.from - now
  out[at] = passes and ahead or -1 - ahead
  if plan.n > 1 then
    out[at + 1] = state.from_rem
  end
end

function token_bucket.encode(state)
  local value, rests
  if state.pardon > now then
    rests = math.max(state.rem > 0 and state.tat + 1 or state.tat, state.pardon)
    value = string.format('%d:%d:%d:%d:%d', rests, state.rem, state.n, state.tat, state.pardon)
  elseif state.rem > 0 then
    value = string.format('%d:%d:%d', state.tat, state.rem, state.n)
    rests = state.tat + 1
  else
    value = string.format('%d', state.tat)
    rests = state.tat
  end
  return value, rests
end
