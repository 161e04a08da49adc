--[[
  ban: counts the refusals of one limit, and blocks its home after too many. A state of its own in that home. Twin of
  ban.ts.

  In:   ARGV  index of the limit among those of the entry, index of the block of its home, refusals that start a ban,
              time within which they come in whole microseconds, length of the first ban in whole milliseconds, growth
              in hundredths, longest ban in whole milliseconds
        value 'rests:length:ends:kept:' of the last ban, in milliseconds and as instants, 0 without one; then the
              instant of the last refusal, and how much earlier each was than the next, joined by ','; or none
  Uses: now, FIRST_INEXACT
  Out:  microseconds for which the entry has started a ban; else 0
]]
local MOST_KEPT = 99

local ban = {}

function ban.plan(args, at)
  local plan = {
    watched = tonumber(args[at]),
    block = tonumber(args[at + 1]),
    after = tonumber(args[at + 2]),
    within = tonumber(args[at + 3]),
    length = tonumber(args[at + 4]),
    growth = tonumber(args[at + 5]),
    max = tonumber(args[at + 6]),
    width = 1,
  }
  return plan, at + 7
end

function ban.price() end

function ban.load(value)
  local state = { refusals = {}, length = 0, ends = 0, kept = 0, rests = 0, started = 0, changed = false, algorithm = ban }
  if not value then
    return state
  end
  local rests, length, ends, kept, steps = string.match(value, '^(%d+):(%d+):(%d+):(%d+):([%d,]*)$')
  if not rests or string.find(',' .. steps .. ',', ',,', 1, true) and steps ~= '' then
    return nil
  end
  state.rests, state.length, state.ends, state.kept = tonumber(rests), tonumber(length), tonumber(ends), tonumber(kept)
  local highest, at = math.max(state.rests, state.length, state.ends, state.kept), 0
  local backwards = {}
  for text in string.gmatch(steps, '%d+') do
    local step = tonumber(text)
    highest = math.max(highest, step)
    at = #backwards == 0 and step or at - step
    backwards[#backwards + 1] = at
  end
  if highest >= FIRST_INEXACT or at < 0 or #backwards > MOST_KEPT then
    return nil
  end
  for i = #backwards, 1, -1 do
    state.refusals[#state.refusals + 1] = backwards[i]
  end
  return state
end

function ban.judge(state)
  state.started = 0
  return true
end

function ban.charge() end

function ban.fits()
  return FIRST_INEXACT
end

function ban.receipt()
  return '-' -- a refusal charged nothing
end

function ban.answer(state, _, _, out, at)
  out[at] = state.started
end

function ban.encode(state)
  local steps, refusals = {}, state.refusals
  for i = #refusals, 1, -1 do
    steps[#steps + 1] = string.format('%d', i == #refusals and refusals[i] or refusals[i + 1] - refusals[i])
  end
  local text = string.format('%d:%d:%d:%d:', state.rests, state.length, state.ends, state.kept)
  return text .. table.concat(steps, ','), state.rests
end

-- Counts a refusal, and starts a ban if it is one too many. Returns when the ban ends, nil if none has started.
local function count(state, plan)
  local refusals = {}
  for i = 1, #state.refusals do
    local at = math.min(state.refusals[i], now) -- one after now, before the clock stepped back, counts from now on
    if at > now - plan.within then
      refusals[#refusals + 1] = at
    end
  end
  refusals[#refusals + 1] = now
  state.refusals, state.changed = refusals, true
  if state.kept <= now then
    state.length, state.ends, state.kept = 0, 0, 0
  end
  if #refusals < plan.after then
    state.rests = math.max(state.kept, now + plan.within)
    return nil
  end
  local grown = state.length * plan.growth
  grown = (grown + (100 - grown % 100) % 100) / 100
  state.length = math.min(math.max(plan.length, grown), plan.max)
  state.started = state.length * 1000
  state.ends = now + state.started
  state.kept = state.ends + state.started + plan.within
  state.rests, state.refusals = state.kept, {}
  return state.ends
end

-- Counts an entry for the bans of the limits that refused it, unless it is blocked, and blocks the homes of those that
-- start one.
function ban.watch(entry)
  local shape = entry.shape
  for l = 1, #shape do
    if shape[l].duration and not entry.verdicts[l] then -- a block
      return
    end
  end
  for l = 1, #shape do
    local plan, state = shape[l], entry[l]
    local watched = plan.watched and shape[plan.watched]
    local refused = watched and not entry.verdicts[plan.watched] and ((watched.asks or 0) > 0 or watched.algorithm.holds)
    if refused and not (watched.shadow and now < state.ends) then
      local ends = count(state, plan)
      if ends and not watched.shadow then
        local blocked = entry[plan.block]
        blocked.ends, blocked.changed = math.max(blocked.ends, ends), true
      end
    end
  end
end
