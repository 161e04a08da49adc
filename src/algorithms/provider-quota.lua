--[[
  provider_quota: the units that a provider says are left, until an instant. A state of its own beside a limit. Twin of
  provider-quota.ts.

  In:   ARGV  the cost; for `penalize`, which sets the quota, the units left, for how many microseconds, the units of a
              whole window and its length in microseconds, else zeros
        value 'rests:held:ends:left:most:since:quota:window:guessed', or none
  Uses: now, FIRST_INEXACT
  Out:  the units left after the decision; or, if it refuses, -1 - the units left
        microseconds for which that holds, 0 without a quota
        microseconds since when units count
]]
local provider_quota = {}

function provider_quota.plan(args, at)
  return {
    cost = tonumber(args[at]),
    left = tonumber(args[at + 1]),
    lasts = tonumber(args[at + 2]),
    quota = tonumber(args[at + 3]),
    window = tonumber(args[at + 4]),
    width = 3,
  },
    at + 5
end

function provider_quota.price(plan, units)
  plan.cost = units
end

-- Forgets a quota that is over. After its end a window of which all is known begins anew with all of its units. A window
-- in which nothing passes and nothing is said is the last one.
local function bring(state)
  if math.max(state.held, state.ends + state.window) <= now then
    state.held, state.ends, state.left, state.most, state.since = 0, 0, 0, 0, 0
    state.quota, state.window, state.guessed = 0, 0, 0
  elseif state.window > 0 and now >= state.ends then
    local start = now - (now - state.ends) % state.window
    state.ends, state.since, state.guessed = start + state.window, start, 1
    state.left, state.most = state.quota, state.quota
  end
end

function provider_quota.load(value)
  local state = {
    held = 0,
    ends = 0,
    left = 0,
    most = 0,
    since = 0,
    quota = 0,
    window = 0,
    guessed = 0,
    changed = false,
    algorithm = provider_quota,
  }
  if not value then
    return state
  end
  local fields = { string.match(value, '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):([01])$') }
  for f = 1, #fields do
    fields[f] = tonumber(fields[f])
    if fields[f] >= FIRST_INEXACT then
      return nil
    end
  end
  if #fields == 0 then
    return nil
  end
  if fields[1] > now then
    state.held, state.ends, state.left, state.most = fields[2], fields[3], fields[4], fields[5]
    state.since, state.quota, state.window, state.guessed = fields[6], fields[7], fields[8], fields[9]
    bring(state)
  end
  return state
end

-- Units that may pass now.
function provider_quota.fits(state)
  if state.held > now then
    return 0
  end
  return state.ends > now and state.left or FIRST_INEXACT
end

function provider_quota.judge(state, plan)
  bring(state) -- what another call of this moment has left is read as the store would
  return plan.cost <= provider_quota.fits(state)
end

function provider_quota.charge(state, plan)
  if state.ends > now then
    state.left, state.changed = math.max(0, state.left - plan.cost), true
  end
end

function provider_quota.room()
  return FIRST_INEXACT
end

-- Whether a report that ends then is of the next window, in the second half of this one.
local function is_next(state, ends)
  local window = state.window
  return window > 0
    and (state.ends - now) * 2 < window
    and math.abs(ends - state.ends - window) * 2 < window
end

-- Sets the quota. Only lowers one that lasts, because responses arrive out of order. Of two reports the lower counts for
-- as long as it says; of equal ones the longer. A report that ends nearer to the beginning of the window than to its
-- end is of the one before. Nothing left there, or in a window of which nothing else is known, only holds calls back
-- until it ends. A report that ends about a window later is of the next one, which the provider has begun.
function provider_quota.penalize(state, plan)
  local ends = now + plan.lasts
  local is_new = state.ends <= now or is_next(state, ends)
  local is_late = not is_new and state.window > 0 and ends - state.since < state.ends - ends
  if plan.left == 0 and (plan.window == 0 or is_late) then
    state.held, state.changed = math.max(state.held, ends), true
    return
  end
  if is_late then
    return
  end
  local replaces = is_new
    or state.guessed == 1
    or plan.left < state.left
    or (plan.left == state.left and ends > state.ends)
  if is_new then
    state.since, state.left, state.most = now, plan.left, plan.left
  else
    state.changed = state.changed or plan.left < state.most
    state.left, state.most = math.min(state.left, plan.left), math.min(state.most, plan.left)
  end
  if not replaces then
    return
  end
  state.ends, state.quota = ends, plan.quota
  state.window = plan.window > 0 and math.max(plan.window, state.window) or plan.window
  state.guessed, state.changed = 0, true
end

-- Gives units back to the window that was charged, up to what was said of it.
function provider_quota.restore(state, _, since, units)
  if state.since == since and state.ends > now then
    state.left, state.changed = math.min(state.left + units, state.most), true
  end
end

-- The mark is since when the charged quota counts.
function provider_quota.refund(state, plan, mark)
  provider_quota.restore(state, plan, tonumber(mark), plan.cost)
end

function provider_quota.receipt(state)
  return string.format('%d', state.since)
end

function provider_quota.parse(receipt)
  return string.find(receipt, '^%d+$') and tonumber(receipt)
end

function provider_quota.answer(state, plan, passes, out, at)
  local left = state.held > now and 0 or state.left
  local ends = state.ends > now and plan.cost > state.left and state.ends or state.held
  out[at] = passes and left or -1 - left
  out[at + 1] = math.max(0, math.max(state.held, passes and state.ends or ends) - now)
  out[at + 2] = now - state.since
end

function provider_quota.encode(state)
  local rests = math.max(state.held, state.ends + state.window)
  return string.format(
    '%d:%d:%d:%d:%d:%d:%d:%d:%d',
    rests,
    state.held,
    state.ends,
    state.left,
    state.most,
    state.since,
    state.quota,
    state.window,
    state.guessed
  ),
    rests
end
