--[[
  The common call, decided before anything else is made: every entry is an `allow` under one and the same token
  bucket, which nothing else stands beside, and no key occurs twice (the caller sees to that). The same step as in
  token-bucket.lua, written out: it costs half, and a script makes its functions and tables anew at every call.

  In:   KEYS  one per entry, or per `times` entries
        ARGV  in this case a single one: 'n p burst burst_rem ceiling ceiling_rem cost cost_rem times', as in
              token-bucket.lua, and how many entries each key is asked for
  Out:  values, out   what the keys hold, and the reply so far
        key, place    the first key left, one that holds more than a plain state, and its first place in the reply
]]
local values = redis.call('MGET', unpack(KEYS))
local out, key, place = { now }, 1, 2
if #ARGV == 1 then
  local call, find, match, format = redis.pcall, string.find, string.match, string.format
  local tonumber, keys, now, last = tonumber, KEYS, now, #KEYS
  local n, _, burst, top_rem, ceiling, _, cost, cost_rem, times =
    match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  n, cost, cost_rem, times = tonumber(n), tonumber(cost), tonumber(cost_rem), tonumber(times)
  local top = now + burst
  top_rem = tonumber(top_rem)
  local forgiven = now + ceiling + JITTER
  while key <= last do
    local value = values[key]
    local tat, rem = now, 0
    if value then
      if find(value, '^%d+$') then
        tat = tonumber(value)
      else
        local int, part, size = match(value, '^(%d+):(%d+):(%d+)$')
        tat, rem = tonumber(int), tonumber(part)
        if tonumber(size) ~= n or rem >= n then
          break
        end
      end
      if tat >= forgiven then
        break
      end
      if tat < now then
        tat, rem = now, 0
      end
    end
    local start, charged = place, false
    for _ = 1, times do
      local new, new_rem = tat + cost, rem + cost_rem
      if new_rem >= n then
        new, new_rem = new + 1, new_rem - n
      end
      if new < top or (new == top and new_rem <= top_rem) then
        tat, rem, charged = new, new_rem, true
        out[place] = tat - now
      else
        out[place] = now - tat - 1
      end
      place = place + 1
      if n > 1 then
        out[place] = rem
        place = place + 1
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
        written = call('PSETEX', keys[key], ttl, text)
      else
        written = call('SET', keys[key], text, 'PX', ttl, 'NX') -- MGET shows a foreign type as nil
      end
      if not written or written.err then
        local failure = written and written.err or FOREIGN_TYPE
        if find(failure, 'READONLY', 1, true) then
          return redis.error_reply(failure)
        end
        for p = start, place - 1 do
          out[p] = failure
        end
      end
    end
    key = key + 1
  end
  if key > last then
    return out
  end
end
