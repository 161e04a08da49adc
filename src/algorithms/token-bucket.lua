--[[
  token_bucket: the generic cell rate algorithm on exact integers. Twin of token-bucket.ts.

  One number per identity: the theoretical arrival time (tat), the instant at which the bucket is full
  again, in whole microseconds plus rem/n of one. A call passes iff tat + cost <= now + burst.

  In:   ARGV  n, burst, burst_rem, ceiling, ceiling_rem, cost, cost_rem, charge (1, or 0 to peek);
              durations are whole microseconds, each with its remainder in n-ths of one
        value 'tat' | 'tat:rem:n' | 'tat:rem:n:pardon', or none for a full bucket
  Out:  (tat - now) after the decision, or -1 - (tat - now) where this limit refuses; then rem if n > 1
]]
local FIRST_INEXACT = 9007199254740992 -- 2^53
local FORGIVEN_BEYOND = 1000000 -- an excess up to 1 s is clock jitter and is left alone

local token_bucket = {}

function token_bucket.plan(at)
  local plan = {
    n = tonumber(ARGV[at]),
    burst = tonumber(ARGV[at + 1]),
    burst_rem = tonumber(ARGV[at + 2]),
    ceiling = tonumber(ARGV[at + 3]),
    ceiling_rem = tonumber(ARGV[at + 4]),
    cost = tonumber(ARGV[at + 5]),
    cost_rem = tonumber(ARGV[at + 6]),
    charge = ARGV[at + 7] == '1',
  }
  plan.width = plan.n > 1 and 2 or 1
  plan.plain = plan.n == 1 and plan.charge
  return plan, at + 8
end

function token_bucket.load(value)
  if not value then
    return { tat = 0, rem = 0, n = 1, pardon = 0 }
  end
  local tat, rem, n, pardon = value, '0', '1', '0'
  if not string.find(value, '^%d+$') then
    tat, rem, n = string.match(value, '^(%d+):(%d+):(%d+)$')
    if not tat then
      tat, rem, n, pardon = string.match(value, '^(%d+):(%d+):(%d+):(%d+)$')
    end
    if not tat then
      return nil
    end
    pardon = pardon or '0'
  end
  local state = { tat = tonumber(tat), rem = tonumber(rem), n = tonumber(n), pardon = tonumber(pardon) }
  if
    state.tat >= FIRST_INEXACT
    or state.n >= FIRST_INEXACT
    or state.pardon >= FIRST_INEXACT
    or state.rem >= state.n
  then
    return nil
  end
  return state
end

-- Whether this limit lets the call pass. Leaves the state as it was, but for a pardon.
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
    (over > FORGIVEN_BEYOND or (over == FORGIVEN_BEYOND and rem > plan.ceiling_rem))
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

-- Takes what `judge` let pass.
function token_bucket.charge(state, plan)
  state.tat, state.rem, state.n = state.to, state.to_rem, plan.n
  state.from, state.from_rem = state.to, state.to_rem
  state.changed = true
end

function token_bucket.answer(state, plan, passes, out, at)
  local ahead = state.from - now
  out[at] = passes and ahead or -1 - ahead
  if plan.n > 1 then
    out[at + 1] = state.from_rem
  end
end

-- Returns what the write answered: a table with `err` where it failed.
function token_bucket.save(key, state)
  local value, rests
  if state.pardon > now then
    value = string.format('%d:%d:%d:%d', state.tat, state.rem, state.n, state.pardon)
    rests = math.max(state.tat + 1, state.pardon)
  elseif state.rem > 0 then
    value = string.format('%d:%d:%d', state.tat, state.rem, state.n)
    rests = state.tat + 1
  else
    value = string.format('%d', state.tat)
    rests = state.tat
  end
  -- Up to the next whole millisecond, and one more for servers that expire a key at its instant.
  local ttl = rests - now + 1999
  return redis.pcall('PSETEX', key, string.format('%d', (ttl - ttl % 1000) / 1000), value)
end

--[[
  The same decisions for the common case, written out without tables, at half the cost: entries that this
  limit alone governs, keys that occur once, whole microseconds, no pardon, `plan.plain`. Decides `times`
  entries on each of KEYS[key..last] and stops at the first key that is not of this kind.

  Returns the first key left, and the next place in `out`.
]]
function token_bucket.plain(plan, key, last, times, values, out, at)
  local pcall, find, format, tonumber, keys = redis.pcall, string.find, string.format, tonumber, KEYS
  local now, cost = now, plan.cost
  local top, forgiven = now + plan.burst, now + plan.ceiling + FORGIVEN_BEYOND
  while key <= last do
    local value = values[key]
    local tat = now
    if value then
      if not find(value, '^%d+$') then
        return key, at
      end
      tat = tonumber(value)
      if tat > forgiven then
        return key, at
      end
      if tat < now then
        tat = now
      end
    end
    local new = tat + cost
    local start = at
    if new <= top then
      tat = new
      out[at] = tat - now
      at = at + 1
      for _ = 2, times do
        new = tat + cost
        if new <= top then
          tat = new
          out[at] = tat - now
        else
          out[at] = -1 - (tat - now)
        end
        at = at + 1
      end
      local ttl = tat - now + 1999
      ttl = format('%d', (ttl - ttl % 1000) / 1000)
      local written
      if value then
        written = pcall('PSETEX', keys[key], ttl, format('%d', tat))
      else
        written = pcall('SET', keys[key], format('%d', tat), 'PX', ttl, 'NX')
      end
      if not written or written.err then
        local failure = written and written.err or FOREIGN_TYPE
        for place = start, at - 1 do
          out[place] = failure
        end
      end
    else
      local refusal = -1 - (tat - now)
      for _ = 1, times do
        out[at] = refusal
        at = at + 1
      end
    end
    key = key + 1
  end
  return key, at
end
