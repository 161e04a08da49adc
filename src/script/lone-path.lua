--[[
  Decides the common call before anything else is made: every entry is an `allow` under the same single token
  bucket, and no key occurs twice (encode.ts sees to that). The step of token-bucket.lua, written out: it costs half,
  because the server makes a script's functions and tables again in every call.

  In:   KEYS  one per entry, or per `times` entries
        ARGV  on this path one argument: 'n p burst burst_rem ceiling ceiling_rem cost cost_rem times', as in
              token-bucket.lua, and how many entries each key has
  Uses: now, JITTER, LONGEST_SLICE, FOREIGN_TYPE, put_off, write_all
  Out:  values, out   the values of the keys, and the reply so far
        key, out_at   the first key left, whose value is more than a plain state, and its index in the reply
]]
local values = redis.call('MGET', unpack(KEYS))
local out, key, out_at = { now }, 1, 2
if #ARGV == 1 then
  local call, find, match, format = redis.pcall, string.find, string.match, string.format
  local tonumber, keys, now, last = tonumber, KEYS, now, #KEYS
  local n, _, burst, top_rem, ceiling, _, cost, cost_rem, times =
    match(ARGV[1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  n, cost, cost_rem, times = tonumber(n), tonumber(cost), tonumber(cost_rem), tonumber(times)
  local top = now + burst
  top_rem = tonumber(top_rem)
  local beyond = now + ceiling + JITTER
  while key <= last do
    local value = values[key]
    local tat, rem, sliced = now, 0, nil
    if value then
      if find(value, '^%d+$') then
        tat = tonumber(value)
      else
        local int, part, size = match(value, '^(%d+):(%d+):(%d+)$')
        if not int then
          local top_of_slices, until_
          int, part, size, top_of_slices, until_ = match(value, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
          sliced = until_
            and tonumber(until_) > now
            and tonumber(until_) <= now + LONGEST_SLICE
            and tonumber(top_of_slices) > now
            and format(':%s:%s', top_of_slices, until_)
        end
        tat, rem = tonumber(int), tonumber(part)
        if tonumber(size) ~= n or rem >= n then
          break
        end
      end
      if tat >= beyond then
        break
      end
      if tat < now then
        tat, rem = now, 0
      end
    end
    local start, charged = out_at, false
    for _ = 1, times do
      local new, new_rem = tat + cost, rem + cost_rem
      if new_rem >= n then
        new, new_rem = new + 1, new_rem - n
      end
      if new < top or (new == top and new_rem <= top_rem) then
        tat, rem, charged = new, new_rem, true
        out[out_at] = tat - now
      else
        out[out_at] = now - tat - 1
      end
      out_at = out_at + 1
      if n > 1 then
        out[out_at] = rem
        out_at = out_at + 1
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
      if sliced then
        text = format('%d:%d:%d%s', tat, rem, n, sliced)
      end
      ttl = (ttl - ttl % 1000) / 1000
      if put_off then
        put_off(key, value, ttl, text)
      else
        ttl = format('%d', ttl)
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
          for p = start, out_at - 1 do
            out[p] = failure
          end
        end
      end
    end
    key = key + 1
  end
  if put_off then
    local size, on_replica = times * (n > 1 and 2 or 1), nil
    write_all(function(k, failure)
      on_replica = on_replica or (find(failure, 'READONLY', 1, true) and failure)
      for p = 2 + (k - 1) * size, 1 + k * size do
        out[p] = failure
      end
    end)
    if on_replica then
      return redis.error_reply(on_replica)
    end
  end
  if key > last then
    return out
  end
end
