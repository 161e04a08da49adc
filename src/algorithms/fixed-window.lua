--[[
  fixed_window: one counter per window of time. Twin of fixed-window.ts.

  Each kind of window that limits this key has a counter of its own in the state. Every call charges all of them, as
  in sliding-window.lua.

  In:   ARGV  name of the kind, rate, ceiling, cost, number of bounds, bounds. No bounds: windows of `name`
              microseconds, counted from the epoch. Else four instants that bound the previous window, the current
              one and the next, by the caller's clock
        value 'rests:' and 'name:used:start:stop' per kind, joined by ','; or none. Without ':stop' where that is `rests`;
              then without ':start', too, where the window is `name` microseconds long
  Uses: now, FIRST_INEXACT, JITTER, counting
  Out:  units used in this window; or, if it refuses, -1 - units used
        microseconds until the window ends
]]
local MAX_KINDS = 4
local SKEWED = "SKEWED The caller's clock is more than a whole window away from this server's"

local function counted(state)
  return state.mine.used
end

-- A counter beyond its own rate, which other kinds of windows charge, stays here, so that it is exact.
local MOST_USED = FIRST_INEXACT / 2

local function take(state, plan, units)
  local mine = state.mine
  mine.used = mine.used + units
  local windows = { mine }
  for w = 1, #state.windows do
    local window = state.windows[w]
    if window.name ~= plan.name and now < window.stop and #windows < MAX_KINDS then
      windows[#windows + 1] =
        { name = window.name, start = window.start, stop = window.stop, used = math.min(window.used + units, MOST_USED) }
    end
  end
  state.windows, state.changed = windows, true
end

local fixed_window = counting(counted, take)

function fixed_window.plan(args, at)
  local plan = {
    name = args[at],
    rate = tonumber(args[at + 1]),
    ceiling = tonumber(args[at + 2]),
    cost = tonumber(args[at + 3]),
    width = 2,
  }
  local bounds = tonumber(args[at + 4])
  if bounds == 0 then
    local period = tonumber(plan.name)
    plan.start = now - now % period
    plan.stop = plan.start + period
  else
    -- The server's clock picks the window: no second round trip at an edge, and the caller's clock may be off.
    plan.failure = SKEWED
    for b = at + 5, at + 3 + bounds do
      local start, stop = tonumber(args[b]), tonumber(args[b + 1])
      if start <= now and now < stop then
        plan.start, plan.stop, plan.failure = start, stop, nil
      end
    end
  end
  return plan, at + 5 + bounds
end

function fixed_window.load(value)
  local windows = {}
  if value then
    local rests, texts = string.match(value, '^(%d+):(.*)$')
    for part in string.gmatch((texts or '') .. ',', '([^,]*),') do
      local name, used, start, stop = string.match(part, '^([^:;%c]+):(%d+):(%d+):(%d+)$')
      if not stop then
        name, used, start = string.match(part, '^([^:;%c]+):(%d+):(%d+)$')
        stop = rests
      end
      if not start then
        name, used = string.match(part, '^([^:;%c]+):(%d+)$')
      end
      start = tonumber(start) or name and string.find(name, '^%d+$') and rests - name
      local window = { name = name, start = start, stop = tonumber(stop), used = tonumber(used) }
      if
        not used
        or not start
        or start < 0
        or #windows == MAX_KINDS
        or window.start >= window.stop
        or window.stop >= FIRST_INEXACT
        or window.used >= FIRST_INEXACT
      then
        return nil
      end
      for w = 1, #windows do
        if windows[w].name == window.name then
          return nil
        end
      end
      windows[#windows + 1] = window
    end
  end
  return { windows = windows, mine = false, changed = false, algorithm = fixed_window }
end

-- What a kind that is new to this key inherits from the counters of other kinds: a proportional part of longer ones.
local function inherited_by(windows, plan)
  local most, length = 0, plan.stop - plan.start
  for w = 1, #windows do
    local window = windows[w]
    if now < window.stop then
      local units, its_length = window.used, window.stop - window.start
      if its_length > length then
        units = math.ceil(units / ((its_length - its_length % length) / length))
      end
      most = math.max(most, units)
    end
  end
  return math.min(most, plan.rate)
end

function fixed_window.judge(state, plan)
  local mine
  for w = 1, #state.windows do
    local window = state.windows[w]
    if window.name == plan.name then
      if window.start > now + JITTER then
        -- The clock stepped back: counted units count from now on.
        window.start, window.stop = plan.start, plan.stop
        state.changed = true
      end
      if window.start >= plan.start then
        -- A later start than the caller's comes from newer time zone data: follow it.
        mine = { name = plan.name, start = window.start, stop = window.stop, used = window.used }
      else
        mine = { name = plan.name, start = plan.start, stop = plan.stop, used = 0 }
      end
    end
  end
  state.mine = mine
    or { name = plan.name, start = plan.start, stop = plan.stop, used = inherited_by(state.windows, plan) }
  return state.mine.used + plan.cost <= plan.rate
end

-- `mark`: the end of the charged window.
function fixed_window.refund(state, plan, mark)
  local mine = state.mine
  if mine.stop == mark and mine.used > 0 then
    mine.used = math.max(0, mine.used - plan.cost)
    take(state, plan, 0)
  end
end

-- The windows that counted the charge: 'name:stop', joined by ','.
function fixed_window.receipt(state)
  local parts = {}
  for w = 1, #state.windows do
    parts[w] = string.format('%s:%d', state.windows[w].name, state.windows[w].stop)
  end
  return table.concat(parts, ',')
end

-- Name of the kind -> end of the charged window.
function fixed_window.parse(receipt)
  local charged = {}
  for part in string.gmatch(receipt .. ',', '([^,]*),') do
    local name, stop = string.match(part, '^([^:]+):(%d+)$')
    if not stop then
      return nil
    end
    charged[name] = tonumber(stop)
  end
  return charged
end

-- Gives back `units` of the receipt's charge, and never more than is counted.
function fixed_window.restore(state, _, charged, units)
  for w = 1, #state.windows do
    local window = state.windows[w]
    if charged[window.name] == window.stop and now < window.stop and window.used > 0 then
      window.used = math.max(0, window.used - units)
      state.changed = true
    end
  end
end

-- Gives units back, and never more than is counted.
function fixed_window.credit(state, _, units)
  for w = 1, #state.windows do
    local window = state.windows[w]
    if now < window.stop and window.used > 0 then
      window.used = math.max(0, window.used - units)
      state.changed = true
    end
  end
end

function fixed_window.answer(state, _, passes, out, at)
  local mine = state.mine
  out[at] = passes and mine.used or -1 - mine.used
  out[at + 1] = mine.stop - now
end

function fixed_window.encode(state)
  local parts, rests = {}, now
  for w = 1, #state.windows do
    rests = math.max(rests, state.windows[w].stop)
  end
  for w = 1, #state.windows do
    local window = state.windows[w]
    local bounds = ''
    if window.stop ~= rests then
      bounds = string.format(':%d:%d', window.start, window.stop)
    elseif tonumber(window.name) ~= window.stop - window.start then
      bounds = string.format(':%d', window.start)
    end
    parts[w] = string.format('%s:%d%s', window.name, window.used, bounds)
  end
  return string.format('%d:%s', rests, table.concat(parts, ',')), rests
end
