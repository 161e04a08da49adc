--[[
  sliding_window_log: keeps every charge of the last `period`, so that no window of that length holds more than
  `rate`, wherever it begins. Twin of sliding-window-log.ts.

  Value: a sorted set with one entry per instant at which units were charged.
  - Score: the instant. Member: 'sum:cost', where `cost` is the units charged at this instant, and `sum` the running
    total of the log up to and including it. A window's usage is the difference of two running totals, so no entries
    are added up.
  - One more member is about the whole log: '~offset:recent:earlier:since'. Its score BEHIND_ALL sorts it last.

  Clock: instants are in the log's own time, Redis's clock plus `offset`. When Redis's clock steps back by more than
  1 s, `offset` grows. So no entry is ever more than 1 s ahead, and none counts longer than its period.

  Retention: entries are kept for the longest period that lately asked of this key. So while a new period is rolled
  out, the limits of both periods find the whole of their windows. Time is cut into spans, each at least as long as
  `recent` and `earlier`. `recent` is the longest period that asked in the present span, which began at `since`;
  `earlier` is the longest of the span before.

  In:   ARGV  period, rate, ceiling, cost; times are whole microseconds
        key   of the sorted set
  Uses: now, FIRST_INEXACT, JITTER, UNREADABLE, counting, ttl_of
  Out:  units used in the window; or, if it refuses, -1 - units used
        microseconds until all of them have left the window
        if it refuses, microseconds until the cost fits; else the offset
]]
local BEHIND_ALL = FIRST_INEXACT
local NEVER = -FIRST_INEXACT
local REBASE_FROM = FIRST_INEXACT / 2
-- Most entries that a refund rewrites, at about 5 us each.
local MAX_REWRITTEN = 200
-- Arguments per command; `unpack` fails at about 8,000.
local CHUNK = 2000

local function whole(number)
  return string.format('%d', number)
end

-- Reads an entry; nil if this library did not write it.
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

-- Binary search: the first of low..high for which `holds` is true, if it is then true for all that follow; else high + 1.
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

-- Moves the stored entries of `from` and later into `tail`, to be rewritten. Does nothing and returns false if one
-- of them is unreadable.
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

-- Restarts the running totals before they become inexact. This happens once per 2^52 units, so its cost does not matter.
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

-- The plan's window now: the running total before it, and its first entry. Nil if that entry is unreadable.
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
    pull(state, at) -- cannot fail: `open` has read this entry
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
    about = false, -- the member about the whole log, as stored
    offset = 0,
    recent = 0,
    earlier = 0,
    since = 0,
    sum = 0, -- the running total
    last_at = NEVER,
    cut = BEHIND_ALL, -- `tail` replaces the stored entries of this instant and later
    tail = {},
    replaced = {}, -- stored members that `tail` replaces
    windows = {}, -- by period
    sought = false, -- what `leaves` searched for last among the entries before `cut`, and what it found
    sought_before = 0,
    found = 0,
    clock = 0, -- the log's time now
    at = 0, -- the instant of a charge made now: never before the last entry
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

-- A failure that shows only inside the log: a running total before the window above the last one. This library writes
-- no such log, and it would let too much pass.
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

-- Whether so many entries follow a charge that rewriting them would hold the server for too long.
local function is_far_back(state, mark)
  local later = #state.tail
  if state.stored and mark < state.cut then
    later = later + redis.call('ZCOUNT', state.key, whole(mark), '(' .. whole(state.cut))
  end
  return later > MAX_REWRITTEN
end

-- `mark`: the instant of the charge. Rewrites all later entries, whose running totals change. Gives nothing back for a
-- charge that too many others followed.
function sliding_window_log.refund(state, plan, mark)
  if mark <= state.at - plan.period or is_far_back(state, mark) or not pull(state, mark) then
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
    -- The log's time continues from where it was, not from the previous entry.
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

-- The entry whose leaving makes the cost fit: the first whose running total reaches `target`. Skips unreadable entries,
-- which can only make the wait longer.
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
  if state.sought == target and state.sought_before == state.cut then
    return state.found
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
  state.sought, state.sought_before, state.found = target, state.cut, at
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

-- Runs the command on `items` in chunks of CHUNK. Returns the last reply, or the first error.
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
    return redis.pcall('DEL', key) -- a refund has emptied the log
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
  -- ZADD comes first: a server that is out of memory refuses it before anything has changed.
  local written = in_chunks('ZADD', key, added)
  if type(written) == 'table' then
    return written
  end
  written = redis.pcall('PEXPIRE', key, ttl)
  if type(written) == 'table' then
    if not state.stored then
      redis.pcall('DEL', key) -- PEXPIRE is not permitted: no key is better than one without a TTL
    end
    return written
  end
  written = in_chunks('ZREM', key, replaced)
  if type(written) == 'table' then
    return written
  end
  return redis.pcall('ZREMRANGEBYSCORE', key, '-inf', whole(state.at - horizon))
end
