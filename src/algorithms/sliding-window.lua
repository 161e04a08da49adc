--[[
  sliding_window: two counters, of this window and of the previous one, which counts less as this window passes.
  Twin of sliding-window.ts.

  Each period that limits this key has a window of its own in the state. Every call charges all of them. So while
  a new period is rolled out, the limits of both periods hold for all calls on the key.

  In:   ARGV  period, step, steps, rate, ceiling, cost; times are whole microseconds, period <= step * steps
        value 'rests:' and 'period:index:before:used' per period, joined by ',', or none
  Uses: now, JITTER, FIRST_INEXACT, counting
  Out:  units used in the previous window; or, if it refuses, -1 - those
        units used in this window
        microseconds passed of this window, negative if Redis's clock stepped back by up to 1 s
]]
local MAX_PERIODS = 4

-- The window at `now`: its index, its two counters, and how much of it has passed.
local function roll(window)
  local period = window.period
  local gone = now % period
  local index = (now - gone) / period
  if window.index > index then
    local ahead = window.index * period - now
    if ahead <= JITTER then
      return window.index, window.before, window.used, -ahead
    end
    return index, window.before, window.used, gone
  elseif window.index == index then
    return index, window.before, window.used, gone
  elseif window.index == index - 1 then
    return index, window.used, 0, gone
  end
  return index, 0, 0, gone
end

-- How many steps of the previous window the last `period` still covers.
local function left_of(mine, plan)
  if mine.gone <= 0 then
    return plan.steps
  end
  return plan.steps - (mine.gone - mine.gone % plan.step) / plan.step
end

-- Units used: this window's, and the part of the previous window's that still counts.
local function counted(state, plan)
  local mine = state.mine
  return mine.used + math.ceil((mine.before * left_of(mine, plan)) / plan.steps)
end

local function take(state, plan, units)
  local mine = state.mine
  mine.used = mine.used + units
  local windows = { mine }
  for w = 1, #state.windows do
    local window = state.windows[w]
    if window.period ~= plan.period and #windows < MAX_PERIODS then
      local index, before, used = roll(window)
      if before + used > 0 then
        windows[#windows + 1] =
          { period = window.period, index = index, before = before, used = used + units }
      end
    end
  end
  state.windows, state.changed = windows, true
end

local sliding_window = counting(counted, take)

function sliding_window.plan(args, at)
  local plan = {
    period = tonumber(args[at]),
    step = tonumber(args[at + 1]),
    steps = tonumber(args[at + 2]),
    rate = tonumber(args[at + 3]),
    ceiling = tonumber(args[at + 4]),
    cost = tonumber(args[at + 5]),
    width = 3,
  }
  return plan, at + 6
end

function sliding_window.load(value)
  local windows = {}
  if value then
    local texts = string.match(value, '^%d+:(.*)$') or ''
    for part in string.gmatch(texts .. ',', '([^,]*),') do
      local period, index, before, used = string.match(part, '^(%d+):(%d+):(%d+):(%d+)$')
      local window = {
        period = tonumber(period),
        index = tonumber(index),
        before = tonumber(before),
        used = tonumber(used),
      }
      if
        not used
        or #windows == MAX_PERIODS
        or window.period < 1
        or window.period >= FIRST_INEXACT
        or (window.index + 2) * window.period >= FIRST_INEXACT -- when the state expires
        or window.before >= FIRST_INEXACT
        or window.used >= FIRST_INEXACT
      then
        return nil
      end
      for w = 1, #windows do
        if windows[w].period == window.period then
          return nil
        end
      end
      windows[#windows + 1] = window
    end
  end
  return { windows = windows, mine = false, changed = false, algorithm = sliding_window }
end

-- What a period that is new to this key inherits from the counters of other periods: a proportional part of longer ones.
local function inherited(windows, plan)
  local most = 0
  for w = 1, #windows do
    local period = windows[w].period
    local _, before, used = roll(windows[w])
    local units = before + used
    if period > plan.period then
      local parts = (period - period % plan.period) / plan.period
      units = math.ceil(units / parts)
    end
    most = math.max(most, units)
  end
  return math.min(most, plan.rate)
end

function sliding_window.judge(state, plan)
  local mine
  for w = 1, #state.windows do
    local window = state.windows[w]
    if window.period == plan.period then
      local index, before, used, gone = roll(window)
      if index < window.index then
        window.index = index -- the clock stepped back: counted units count from now on
        state.changed = true
      end
      mine = { period = plan.period, index = index, before = before, used = used, gone = gone }
    end
  end
  if not mine then
    local gone = now % plan.period
    mine = {
      period = plan.period,
      index = (now - gone) / plan.period,
      before = 0,
      used = inherited(state.windows, plan),
      gone = gone,
    }
  end
  state.mine = mine
  return mine.before * left_of(mine, plan) + (mine.used + plan.cost) * plan.steps <= plan.rate * plan.steps
end

-- `mark`: the index of the charged window.
function sliding_window.refund(state, plan, mark)
  local mine = state.mine
  local counter = (mine.index == mark and 'used') or (mine.index == mark + 1 and 'before')
  if counter and mine[counter] > 0 then
    mine[counter] = math.max(0, mine[counter] - plan.cost)
    take(state, plan, 0)
  end
end

-- The windows that counted the charge: 'period:index', joined by ','.
function sliding_window.receipt(state)
  local parts = {}
  for w = 1, #state.windows do
    parts[w] = string.format('%d:%d', state.windows[w].period, state.windows[w].index)
  end
  return table.concat(parts, ',')
end

-- Period -> index of the charged window.
function sliding_window.parse(receipt)
  local charged = {}
  for part in string.gmatch(receipt .. ',', '([^,]*),') do
    local period, index = string.match(part, '^(%d+):(%d+)$')
    if not index then
      return nil
    end
    charged[tonumber(period)] = tonumber(index)
  end
  return charged
end

-- Gives back `units` of the receipt's charge, and never more than is counted.
function sliding_window.restore(state, _, charged, units)
  for w = 1, #state.windows do
    local window = state.windows[w]
    local index, before, used = roll(window)
    local mark = charged[window.period]
    local counter = (index == mark and used > 0 and 'used')
      or (mark and index == mark + 1 and before > 0 and 'before')
    if counter then
      window.index, window.before, window.used = index, before, used
      window[counter] = math.max(0, window[counter] - units)
      state.changed = true
    end
  end
end

-- Gives back the newest units first: they count longest.
function sliding_window.credit(state, _, units)
  for w = 1, #state.windows do
    local window = state.windows[w]
    local index, before, used = roll(window)
    if before + used > 0 then
      local newest = math.min(units, used)
      window.index, window.used = index, used - newest
      window.before = math.max(0, before - (units - newest))
      state.changed = true
    end
  end
end

function sliding_window.answer(state, _, passes, out, at)
  local mine = state.mine
  out[at] = passes and mine.before or -1 - mine.before
  out[at + 1] = mine.used
  out[at + 2] = mine.gone
end

function sliding_window.encode(state)
  local parts, rests = {}, now
  for w = 1, #state.windows do
    local window = state.windows[w]
    parts[w] = string.format('%d:%d:%d:%d', window.period, window.index, window.before, window.used)
    rests = math.max(rests, (window.index + (window.used > 0 and 2 or 1)) * window.period)
  end
  return string.format('%d:%s', rests, table.concat(parts, ',')), rests
end
