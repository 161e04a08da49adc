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
  plan.plain = plan.charge
  return plan, at + 8
end

function token_bucket.load(value)
  local tat, rem, n, pardon = value or '0', '0', '1', '0'
  if not string.find(tat, '^%d+$') then
    tat, rem, n = string.match(value, '^(%d+):(%d+):(%d+)$')
    if not tat then
      tat, rem, n, pardon = string.match(value, '^(%d+):(%d+):(%d+):(%d+)$')
    end
    if not tat then
      return nil
    end
  end
  tat, rem, n, pardon = tonumber(tat), tonumber(rem), tonumber(n), tonumber(pardon)
  if tat >= FIRST_INEXACT or n >= FIRST_INEXACT or pardon >= FIRST_INEXACT or rem >= n then
    return nil
  end
  -- All fields at once: a table that grows later costs as much again.
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
    rests = math.max(state.rem > 0 and state.tat + 1 or state.tat, state.pardon)
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
  limit alone governs and charges, keys that occur once, no pardon. Decides `times` entries on each of
  KEYS[key..last] and stops at the first key that is not of this kind.

  Returns the first key left, and the next place in `out`.
]]
function token_bucket.plain(plan, key, last, times, values, out, at)
  local write, find, match, format = redis.pcall, string.find, string.match, string.format
  local tonumber, keys, now = tonumber, KEYS, now
  local n, cost, cost_rem = plan.n, plan.cost, plan.cost_rem
  local top, top_rem = now + plan.burst, plan.burst_rem
  local forgiven = now + plan.ceiling + FORGIVEN_BEYOND
  while key <= last do
    local value = values[key]
    local tat, rem = now, 0
    if value then
      if find(value, '^%d+$') then
        tat = tonumber(value)
      else
        local int, part, size = match(value, '^(%d+):(%d+):(%d+)$')
        if tonumber(size) ~= n then
          return key, at
        end
        tat, rem = tonumber(int), tonumber(part)
        if rem >= n then
          return key, at
        end
      end
      if tat >= forgiven then
        return key, at
      end
      if tat < now then
        tat, rem = now, 0
      end
    end
    local start, charged = at, false
    for _ = 1, times do
      local new, new_rem = tat + cost, rem + cost_rem
      if new_rem >= n then
        new, new_rem = new + 1, new_rem - n
      end
      if new < top or (new == top and new_rem <= top_rem) then
        tat, rem, charged = new, new_rem, true
        out[at] = tat - now
      else
        out[at] = now - tat - 1
      end
      at = at + 1
      if n > 1 then
        out[at] = rem
        at = at + 1
      end
    end
    if charged then
      local ttl, text = tat - now + 1999, nil
      if rem > 0 then
        ttl = ttl + 1
        text = format('%d:%d:%d', tat, rem, n)
      else
        text = format('%d', tat)
      end
      ttl = format('%d', (ttl - ttl % 1000) / 1000)
      local written
      if value then
        written = write('PSETEX', keys[key], ttl, text)
      else
        written = write('SET', keys[key], text, 'PX', ttl, 'NX')
      end
      if not written or written.err then
        local failure = written and written.err or FOREIGN_TYPE
        for place = start, at - 1 do
          out[place] = failure
        end
      end
    end
    key = key + 1
  end
  return key, at
end
