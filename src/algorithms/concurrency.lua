--[[
  concurrency: places, each held by a lease for a time. Twin of concurrency.ts.

  In:   ARGV  max, ttl in whole microseconds; the driver sets `plan.lease` to the lease that a call is about
        value a sorted set, lease -> the instant at which it expires; and '~' -> minus the latest instant at which a
              lease was written, so that '~' sorts first and is never a live lease; or none
  Uses: now, FIRST_INEXACT, JITTER, ttl_of
  Out:  live leases; or, if it refuses, -1 - live leases
        microseconds until the last lease expires
        microseconds until a lease expires that frees a place, if it refuses; else 0
]]
local CLOCK = '~'
local MAX_ARGUMENTS = 4000 -- per command; `unpack` fails at about 8000

local concurrency = {}

function concurrency.plan(args, at)
  return { max = tonumber(args[at]), ttl = tonumber(args[at + 1]), lease = '', width = 3 }, at + 2
end

function concurrency.price() end

-- The score as an exact instant, or nil. Servers differ in how they write a score.
local function instant(score)
  if score >= 0 and score < FIRST_INEXACT and score % 1 == 0 then
    return math.floor(score)
  end
  return nil
end

-- Reads only the leases that a call needs, so a call costs the same under a thousand leases as under one.
function concurrency.open(key)
  local state = {
    key = key,
    last = 0,
    stored = 0, -- `last` as stored in the set
    shift = 0,
    live = 0,
    rests = 0, -- when the last live lease expires; false if that must be looked up
    leases = {}, -- lease -> when it expires, of the leases that this call has read
    looked = 0,
    written = {},
    opens = {},
    changed = false,
    algorithm = concurrency,
  }
  local first = key and redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES') or {}
  if first.err then
    return { failure = first.err }
  end
  if not first[1] then
    state.key = false
    return state
  end
  local final = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local last, rests = instant(-tonumber(first[2])), instant(tonumber(final[2]))
  if first[1] ~= CLOCK or not last or not rests then
    return nil
  end
  state.stored = last
  if last - now > JITTER then
    -- The clock stepped back: each lease keeps the time it had left at the last write, counted from now.
    state.shift, last = last - now, now
    state.changed = true
  end
  state.last, state.rests = last, rests - state.shift
  state.live = redis.call('ZCOUNT', key, string.format('(%d', now + state.shift), '+inf')
  if state.live == 0 then
    state.last = 0
  end
  return state
end

local function ends(state, lease)
  local at = state.leases[lease]
  if not at then
    local score = state.key and redis.call('ZSCORE', state.key, lease)
    if not score then
      return 0
    end
    at = math.floor(tonumber(score)) - state.shift
    state.leases[lease], state.looked = at, state.looked + 1
  end
  return at
end

-- When the n-th live lease expires, in order of expiry; without n, the last.
local function nth(state, n)
  local found, all = {}, {}
  if state.key then
    local live = string.format('(%d', now + state.shift)
    local count = string.format('%d', (n or 1) + state.looked)
    if n then
      found = redis.call('ZRANGEBYSCORE', state.key, live, '+inf', 'WITHSCORES', 'LIMIT', '0', count)
    else
      found = redis.call('ZREVRANGEBYSCORE', state.key, '+inf', live, 'WITHSCORES', 'LIMIT', '0', count)
    end
  end
  for f = 1, #found, 2 do
    if not state.leases[found[f]] then
      all[#all + 1] = math.floor(tonumber(found[f + 1])) - state.shift
    end
  end
  for _, at in pairs(state.leases) do
    if at > now then
      all[#all + 1] = at
    end
  end
  table.sort(all)
  return all[n or #all]
end

local function rests(state)
  if not state.rests then
    state.rests = nth(state)
  end
  return state.rests
end

function concurrency.holds(state, plan)
  return ends(state, plan.lease) > now
end

-- A lease that is live has its place already.
function concurrency.judge(state, plan)
  return concurrency.holds(state, plan) or state.live < plan.max
end

-- Takes a place for `ttl` from now, or extends the lease that has one.
function concurrency.charge(state, plan)
  local at = ends(state, plan.lease)
  if at <= now then
    state.live = state.live + 1
  end
  at = math.max(at, now + plan.ttl)
  state.leases[plan.lease], state.written[plan.lease] = at, true
  state.last = math.max(state.last, now)
  state.rests = state.rests and math.max(state.rests, at)
  state.opens, state.changed = {}, true
end

function concurrency.release(state, plan)
  local at = ends(state, plan.lease)
  if at > now then
    state.live = state.live - 1
    if state.live == 0 then
      state.last = 0
    end
    state.leases[plan.lease], state.written[plan.lease] = 0, true
    state.rests = at ~= state.rests and state.rests
    state.opens, state.changed = {}, true
  end
end

-- A lease takes one place, whatever the cost.
function concurrency.fits(state, plan)
  return state.live < plan.max and FIRST_INEXACT or 0
end

function concurrency.receipt()
  return '-' -- a place is no quantity: `release` frees it
end

function concurrency.penalize() end

function concurrency.refund() end

function concurrency.answer(state, plan, passes, out, at)
  out[at] = passes and state.live or -1 - state.live
  out[at + 1] = state.live > 0 and rests(state) - now or 0
  out[at + 2] = 0
  if not passes then
    local n = state.live - plan.max + 1
    state.opens[n] = state.opens[n] or nth(state, n)
    out[at + 2] = state.opens[n] - now
  end
end

function concurrency.save(key, state)
  if state.live == 0 then
    return redis.pcall('DEL', key)
  end
  local ttl = ttl_of(rests(state) - now)
  local added, removed = {}, {}
  local function add(lease, score)
    added[#added + 1], added[#added + 2] = string.format('%d', score), lease
  end
  for lease in pairs(state.written) do
    if state.leases[lease] > now then
      add(lease, state.leases[lease])
    else
      removed[#removed + 1] = lease
    end
  end
  if state.shift > 0 then
    local found = redis.call('ZRANGE', key, 1, -1, 'WITHSCORES')
    for f = 1, #found, 2 do
      if not state.written[found[f]] then
        add(found[f], math.floor(tonumber(found[f + 1])) - state.shift)
      end
    end
  end
  if state.last ~= state.stored then
    add(CLOCK, -state.last)
  end
  for from = 1, #added, MAX_ARGUMENTS do
    local written =
      redis.pcall('ZADD', key, unpack(added, from, math.min(from + MAX_ARGUMENTS - 1, #added)))
    if type(written) == 'table' then
      return written
    end
  end
  local kept = redis.pcall('PEXPIRE', key, ttl)
  if type(kept) == 'table' then
    if not state.key then
      redis.pcall('DEL', key) -- no lease is better than one that never expires
    end
    return kept
  end
  local freed = #removed > 0 and redis.pcall('ZREM', key, unpack(removed))
  if type(freed) == 'table' then
    return freed
  end
  return redis.pcall('ZREMRANGEBYSCORE', key, '0', string.format('%d', now))
end
