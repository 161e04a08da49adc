--[[
  sliding_window_log: every charge of the last `period`, so that no window of that length, wherever it begins, holds
  more than `rate`. Twin of sliding-window-log.ts.

  A sorted set with an entry for each instant at which something was charged. Its score is the instant; its member
  tells what the log had been charged in all by then, and what of that at this instant. So what a window holds is the
  difference of two sums, and nothing is ever counted through. One more member, behind all entries, is about the
  log as a whole.

  Instants are of the log's own time: Redis's clock and an offset, which grows when that clock steps back, so that
  no entry is ever ahead of its time by more than 1 s and none has to be waited for longer than its period.

  Entries are kept for the longest period that asked of this key of late, so that limits of two periods on one key,
  as while a new one is rolled out, each find the whole of their window. `recent` is the longest that asked since
  `since`, `earlier` the longest of the time before; such a time is at least as long as either.

  In:   ARGV  period, rate, ceiling, cost; times are whole microseconds
        key   members 'sum:cost', scored by their instant, and '~offset:recent:earlier:since', scored by BEHIND_ALL
  Out:  units used in the window, or -1 - them where this limit refuses; microseconds until none is used any more;
        where it refuses microseconds until the cost fits, else the offset
]]
local BEHIND_ALL = FIRST_INEXACT
local NEVER = -FIRST_INEXACT
local REBASE_FROM = FIRST_INEXACT / 2
-- Arguments of one command; Lua's stack has room for fewer than 8,000.
local CHUNK = 2000

local function whole(number)
  return string.format('%d', number)
end

-- The entry, or nothing where it is not one of ours.
local function read_entry(member, score)
  local sum, cost = string.match(member, '^(%d+):(%d+)$')
  local at = math.floor(tonumber(score) or BEHIND_ALL)
  local entry = { at = at, sum = tonumber(sum), cost = tonumber(cost) }
  if
    not cost
    or entry.cost < 1
    or entry.cost > entry.sum
    or entry.sum >= FIRST_INEXACT
    or at < 0
    or at >= BEHIND_ALL
  then
    return nil
  end
  return entry
end

-- The first of low..high for which `holds` does, where it then does for all that follow; high + 1 for none.
local function first_that(low, high, holds)
  while low <= high do
    local middle = math.floor((low + high) / 2)
    if holds(middle) then
      high = middle - 1
    else
      low = middle + 1
    end
  end
  return low
end

-- Takes the stored entries of `from` and later into memory, to be written anew. Does nothing and returns false
-- where one of them is unreadable.
local function pull(state, from)
  if not state.stored or from >= state.cut then
    return true
  end
  local found = redis.call('ZRANGEBYSCORE', state.key, whole(from), '(' .. whole(state.cut), 'WITHSCORES')
  local pulled = {}
  for i = 1, #found, 2 do
    local entry = read_entry(found[i], found[i + 1])
    if not entry then
      return false
    end
    pulled[#pulled + 1] = entry
  end
  for i = 1, #found, 2 do
    state.replaced[#state.replaced + 1] = found[i]
  end
  for i = 1, #state.tail do
    pulled[#pulled + 1] = state.tail[i]
  end
  state.tail, state.cut = pulled, from
  return true
end

-- Sums begin anew, long before they could be inexact: after 2^52 units, so that its cost does not matter.
local function rebase(state)
  if not pull(state, 0) then
    return nil
  end
  local gone = state.tail[1].sum - state.tail[1].cost
  for i = 1, #state.tail do
    state.tail[i].sum = state.tail[i].sum - gone
  end
  state.sum, state.changed = state.sum - gone, true
  return state
end

-- The plan's window now: what the log was charged before it, and its first entry. Nothing where that is unreadable.
local function look(state, plan)
  local window = state.windows[plan.period]
  if window then
    return window
  end
  local ahead = state.last_at - now - state.offset
  if ahead > JITTER then
    state.offset, state.changed = state.offset + ahead, true
  end
  state.clock = now + state.offset
  state.at = math.max(state.clock, state.last_at)
  window = { before = state.sum, sum = 0, at = 0 }
  local start = state.at - plan.period
  if state.last_at > start then
    local first
    if state.stored then
      local found = redis.call(
        'ZRANGEBYSCORE',
        state.key,
        '(' .. whole(start),
        '(' .. whole(state.cut),
        'WITHSCORES',
        'LIMIT',
        '0',
        '1'
      )
      first = found[1] and read_entry(found[1], found[2])
      if found[1] and not first then
        return nil
      end
    end
    if not first then
      first = state.tail[first_that(1, #state.tail, function(i)
        return state.tail[i].at > start
      end)]
    end
    window.before, window.sum, window.at = first.sum - first.cost, first.sum, first.at
  end
  state.windows[plan.period] = window
  return window
end

local function counted(state, plan)
  return state.sum - look(state, plan).before
end

local function take(state, plan, units)
  local at = state.at
  if at - state.since >= math.max(state.recent, state.earlier) then
    state.earlier, state.recent, state.since = state.recent, plan.period, at
  elseif plan.period > state.recent then
    state.recent = plan.period
  end
  if state.last_at == at then
    pull(state, at) -- it was read by `open`
  end
  local tail = state.tail
  local last = tail[#tail]
  state.sum = state.sum + units
  if last and last.at == at then
    last.sum, last.cost = state.sum, last.cost + units
  else
    tail[#tail + 1] = { at = at, sum = state.sum, cost = units }
  end
  state.last_at, state.changed = at, true
end

local sliding_window_log = counting(counted, take)

function sliding_window_log.plan(args, at)
  local plan = {
    period = tonumber(args[at]),
    rate = tonumber(args[at + 1]),
    ceiling = tonumber(args[at + 2]),
    cost = tonumber(args[at + 3]),
    width = 3,
  }
  return plan, at + 4
end

function sliding_window_log.open(key)
  local state = {
    key = key,
    stored = false,
    about = false, -- the member about the log, as it is stored
    offset = 0,
    recent = 0,
    earlier = 0,
    since = 0,
    sum = 0, -- all that the log was charged
    last_at = NEVER,
    cut = BEHIND_ALL, -- stored entries of this instant and later no longer count: those in `tail` do
    tail = {},
    replaced = {}, -- members that `tail` stands for
    windows = {}, -- by period
    clock = 0, -- the log's time now
    at = 0, -- what is charged now is charged at this instant: never before the last entry
    changed = false,
    algorithm = sliding_window_log,
  }
  local found = key and redis.pcall('ZRANGE', key, '-2', '-1', 'WITHSCORES') or {}
  if found.err then
    return { failure = found.err }
  end
  if #found == 0 then
    return state
  end
  local last = found[3] and read_entry(found[1], found[2])
  local offset, recent, earlier, since = string.match(found[3] or '', '^~(%d+):(%d+):(%d+):(%d+)$')
  if not last or not since then
    return nil
  end
  state.stored, state.about = true, found[3]
  state.offset, state.recent = tonumber(offset), tonumber(recent)
  state.earlier, state.since = tonumber(earlier), tonumber(since)
  state.sum, state.last_at = last.sum, last.at
  if math.max(state.offset, state.recent, state.earlier, state.since) >= FIRST_INEXACT then
    return nil
  end
  return state.sum < REBASE_FROM and state or rebase(state)
end

-- What only a look into the log can tell. More before the window than in all is no log of ours: it would let that
-- much more pass.
function sliding_window_log.failure(state, plan)
  local window = look(state, plan)
  return not (window and window.before <= state.sum) and UNREADABLE or nil
end

function sliding_window_log.judge(state, plan)
  local used = counted(state, plan)
  if used > 0 and plan.period > state.recent then
    state.recent, state.changed = plan.period, true
  end
  return used + plan.cost <= plan.rate
end

-- `mark` is the instant of the charge. The sums of all later entries change: they are read and written again, at
-- about 5 us each, while any other call costs as much in a long log as in a short one.
function sliding_window_log.refund(state, plan, mark)
  if mark <= state.at - plan.period or not pull(state, mark) then
    return
  end
  local tail = state.tail
  local found = first_that(1, #tail, function(i)
    return tail[i].at >= mark
  end)
  if not tail[found] or tail[found].at ~= mark then
    return
  end
  local units = math.min(plan.cost, tail[found].cost)
  for i = found, #tail do
    tail[i].sum = tail[i].sum - units
  end
  tail[found].cost = tail[found].cost - units
  state.sum, state.windows, state.changed = state.sum - units, {}, true
  if tail[found].cost > 0 then
    return
  end
  table.remove(tail, found)
  if found > #tail then
    -- Time goes on from where it was, not from the entry before.
    state.offset = state.offset + state.at - state.clock
    if #tail > 0 then
      state.last_at = tail[#tail].at
    else
      local before = state.stored
          and redis.call(
            'ZREVRANGEBYSCORE',
            state.key,
            '(' .. whole(state.cut),
            '-inf',
            'WITHSCORES',
            'LIMIT',
            '0',
            '1'
          )
        or {}
      state.last_at = before[2] and math.floor(tonumber(before[2])) or NEVER
    end
  end
end

-- The instant of the charge.
function sliding_window_log.receipt(state)
  return whole(state.last_at)
end

function sliding_window_log.parse(receipt)
  return string.find(receipt, '^%d+$') and #receipt <= 16 and tonumber(receipt) or nil
end

function sliding_window_log.restore(state, plan, mark, units)
  plan.cost = units
  sliding_window_log.refund(state, plan, mark)
end

-- When the cost fits: as soon as all has left the window that was charged up to the entry at which the sum reaches
-- `target`. An unreadable entry is passed over, which can only make the wait longer.
local function leaves(state, plan, window)
  local target = state.sum + plan.cost - plan.rate
  if window.sum >= target then
    return window.at
  end
  local at, tail = state.last_at, state.tail
  if target > state.sum then
    return at
  end
  if tail[1] and target > tail[1].sum - tail[1].cost then
    return tail[first_that(1, #tail, function(i)
      return tail[i].sum >= target
    end)].at
  end
  local kept = redis.call('ZCOUNT', state.key, '-inf', '(' .. whole(state.cut))
  first_that(0, kept - 1, function(rank)
    local found = redis.call('ZRANGE', state.key, whole(rank), whole(rank), 'WITHSCORES')
    local entry = read_entry(found[1], found[2])
    local reached = entry and entry.sum >= target
    if reached then
      at = entry.at
    end
    return reached
  end)
  return at
end

function sliding_window_log.answer(state, plan, passes, out, at)
  local window = look(state, plan)
  local used = state.sum - window.before
  out[at] = passes and used or -1 - used
  out[at + 1] = used > 0 and state.last_at + plan.period - state.clock or 0
  if passes then
    out[at + 2] = state.offset
  else
    out[at + 2] = used > 0 and leaves(state, plan, window) + plan.period - state.clock or 0
  end
end

-- Runs the command on `items`, as many at a time as it takes, and returns what it answered last.
local function in_chunks(command, key, items)
  local answered
  for from = 1, #items, CHUNK do
    answered = redis.pcall(command, key, unpack(items, from, math.min(from + CHUNK - 1, #items)))
    if type(answered) == 'table' and answered.err then
      break
    end
  end
  return answered
end

function sliding_window_log.save(key, state)
  local horizon = math.max(state.recent, state.earlier)
  if state.last_at <= state.at - horizon then
    return redis.pcall('DEL', key) -- a refund has left nothing
  end
  local added, stands = {}, {}
  for i = 1, #state.tail do
    local entry = state.tail[i]
    local member = string.format('%d:%d', entry.sum, entry.cost)
    added[2 * i - 1], added[2 * i], stands[member] = whole(entry.at), member, true
  end
  local about = string.format('~%d:%d:%d:%d', state.offset, state.recent, state.earlier, state.since)
  if about ~= state.about then
    added[#added + 1], added[#added + 2] = whole(BEHIND_ALL), about
    if state.about then
      state.replaced[#state.replaced + 1] = state.about
    end
  end
  local replaced = {}
  for i = 1, #state.replaced do
    if not stands[state.replaced[i]] then
      replaced[#replaced + 1] = state.replaced[i]
    end
  end

  local ttl = ttl_of(state.last_at + horizon - state.clock)
  -- The first write is the one that a server without memory refuses: nothing is changed then.
  local written = in_chunks('ZADD', key, added)
  if type(written) == 'table' then
    return written
  end
  written = redis.pcall('PEXPIRE', key, ttl)
  if type(written) == 'table' then
    if not state.stored then
      redis.pcall('DEL', key) -- not permitted: better no key than one without a TTL
    end
    return written
  end
  written = in_chunks('ZREM', key, replaced)
  if type(written) == 'table' then
    return written
  end
  return redis.pcall('ZREMRANGEBYSCORE', key, '-inf', whole(state.at - horizon))
end
