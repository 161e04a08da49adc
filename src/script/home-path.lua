--[[
  Decides `allow` under limits whose states are all in homes of the identity, without the driver: every entry has the
  same shape (encode.ts sees to that). The steps of the algorithms, written out in one loop that
  makes no table and no function per entry. It stops at the first entry with a home that holds anything but current
  states of these limits, in their order, and leaves the rest to the driver. Each home that has changed is written once.

  In:   ARGV  on this path 'home', or 'homes' if keys occur again; how many entries each home has; and one shape, as
              call-shape.lua reads it
        KEYS  per `times` entries the keys of its homes, then those of the blocks if the shape has them
  Uses: now, FIRST_INEXACT, JITTER, FOREIGN_TYPE, values, key, out, out_at, put_off, write_all
  Out:  key, out_at   the first key left, and the index of its first integer in the reply
]]
if string.find(ARGV[1], '^home') then
  local call, find, format, match, sub, gsub = redis.pcall, string.find, string.format, string.match, string.sub, string.gsub
  local args, tonumber, keys, now = ARGV, tonumber, KEYS, now
  local times, width, count = tonumber(args[2]), tonumber(args[6]), tonumber(args[7])
  local rules, at, homes, skewed = {}, 8, width, false
  local size = 0 -- integers of an entry
  local by_home = {} -- by index of a home: its rules
  for l = 1, count do
    local key_at, id, kind = tonumber(args[at + 1]), args[at + 2], args[at + 3]
    if kind == 'block' then -- one for each home that may be blocked; they come last
      local blocks = count - l + 1
      homes, count, size = width - blocks, l - 1, size + blocks
      break
    end
    local rule = { kind = kind, id = ';' .. id, shadow = args[at] == '1', pattern = '^;' .. gsub(id, '[.-]', '%%%0') }
    at = at + 4
    if kind == 'token_bucket' then
      rule.n, rule.burst, rule.burst_rem = tonumber(args[at]), now + tonumber(args[at + 2]), tonumber(args[at + 3])
      rule.beyond = now + tonumber(args[at + 4]) + JITTER
      rule.cost, rule.cost_rem = tonumber(args[at + 6]), tonumber(args[at + 7])
      rule.pattern = rule.pattern .. '(%d+)([^;]*)'
      at, size = at + 8, size + (rule.n > 1 and 2 or 1)
    elseif kind == 'sliding_window' then
      local period, step, steps = tonumber(args[at]), tonumber(args[at + 1]), tonumber(args[at + 2])
      rule.gone = now % period
      rule.period, rule.index, rule.steps = period, (now - rule.gone) / period, steps
      rule.left = steps - (rule.gone - rule.gone % step) / step
      rule.cost = tonumber(args[at + 5])
      rule.most = (tonumber(args[at + 3])) * steps
      rule.name = ':' .. args[at] .. ':'
      rule.pattern = rule.pattern .. '(%d+)' .. rule.name .. '(%d+):(%d+):(%d+)'
      at, size = at + 6, size + 3
    else
      rule.rate, rule.cost = tonumber(args[at + 1]), tonumber(args[at + 3])
      rule.name = ':' .. args[at] .. ':'
      rule.pattern = rule.pattern .. '(%d+)' .. gsub(rule.name, '%W', '%%%0') .. '(%d+)(:?%d*)'
      local bounds = tonumber(args[at + 4])
      if bounds == 0 then
        local period = tonumber(args[at])
        rule.start, rule.stop, rule.begins = now - now % period, now - now % period + period, ''
      else
        for b = at + 5, at + 3 + bounds do
          local start, stop = tonumber(args[b]), tonumber(args[b + 1])
          if start <= now and now < stop then
            rule.start, rule.stop, rule.begins = start, stop, ':' .. args[b]
          end
        end
      end
      if not rule.start then
        skewed = true -- the driver says so
      end
      at, size = at + 5 + bounds, size + 2
    end
    rules[l] = rule
    by_home[key_at] = by_home[key_at] or {}
    by_home[key_at][#by_home[key_at] + 1] = rule
  end
  local parts, stored_in, on_replica = {}, {}, nil
  -- Where keys occur again, each is written once: the index of a key's change, then by that index its place in KEYS, its
  -- text, when it rests, and the index in `out` of the first charge.
  local change_of = args[1] == 'homes' and {}
  local changes, changed, texts, rests_of, firsts = 0, {}, {}, {}, {}

  -- Fails the entries that count by this home since its first charge.
  local failed = {} -- by place in KEYS
  local function fail(k, failure)
    local name, per_group = keys[k], size * times
    local first = change_of and firsts[change_of[name]] or 2 + (k - 1 - (k - 1) % width) / width * per_group
    on_replica = on_replica or (find(failure, 'READONLY', 1, true) and failure)
    failed[k] = true
    for p = first, out_at - 1 do
      local group = (p - 2 - (p - 2) % per_group) / per_group * width
      for h = 1, homes do
        if keys[group + h] == name then
          out[p] = failure
        end
      end
    end
  end

  local function write(k, text, rests)
    local name, ttl, written = keys[k], rests - now + 1999, nil
    ttl = (ttl - ttl % 1000) / 1000
    if put_off then
      put_off(k, values[k], ttl, text)
      return
    end
    ttl = format('%d', ttl)
    if values[k] then
      written = call('PSETEX', name, ttl, text)
    else
      written = call('SET', name, text, 'PX', ttl, 'NX') -- MGET shows a foreign type as nil
    end
    if not written or written.err then
      fail(k, written and written.err or FOREIGN_TYPE)
    end
  end

  local plain = not skewed
  while plain do
    -- Reads the states of one entry.
    for k = key + homes, key + width - 1 do
      plain = plain and not (values[k] or call('GET', keys[k]))
    end
    for h = 1, homes do
      local name, pos = keys[key + h - 1], 1
      local change = change_of and change_of[name]
      local value = change and texts[change] or values[key + h - 1]
      if value and find(value, '^%d[^;]*$') then -- the unnamed bucket's, alone
        value = ';=t' .. value
      elseif not value and homes > 1 and call('GET', name) then -- a foreign type, for which all homes stay as they are
        plain = false
      end
      stored_in[h] = value
      local own = by_home[h]
      for l = 1, #own do
        local rule, from, stop, a, b, c, d = own[l], nil, nil, nil, nil, nil, nil
        if value then
          from, stop, a, b, c, d = find(value, rule.pattern, pos)
        end
        local kind = rule.kind
        if kind == 'token_bucket' then
          local tat, rem = now, 0
          if stop then
            tat = tonumber(a)
            if b ~= '' then
              local part, size = match(b, '^:(%d+):(%d+)$')
              rem = tonumber(part)
              plain = plain and tonumber(size) == rule.n and rem < rule.n
            end
            plain = plain and tat < rule.beyond
            if tat < now then
              tat, rem = now, 0
            end
          end
          rule.tat, rule.rem = tat, rem
        elseif kind == 'sliding_window' then
          local index, before, used = rule.index, 0, 0
          if stop then
            local rests, stored = tonumber(a), tonumber(b)
            plain = plain and rests < FIRST_INEXACT
            if rests >= now then
              if stored == index then
                before, used = tonumber(c), tonumber(d)
              elseif stored == index - 1 then
                before = tonumber(d)
              end
              plain = plain and stored <= index and tonumber(c) < FIRST_INEXACT and tonumber(d) < FIRST_INEXACT
            end
          end
          rule.before, rule.used = before, used
        else
          local used = 0
          if stop then
            local ends = tonumber(a)
            plain = plain and ends < FIRST_INEXACT
            if ends >= now then
              used = tonumber(b)
              plain = plain and ends == rule.stop and c == rule.begins and used < FIRST_INEXACT
            end
          end
          rule.used = used
        end
        rule.from, rule.to, rule.charged = from, stop, false
        pos = stop and stop + 1 or pos
      end
      plain = plain and value ~= '' and not (value and pos <= #value)
    end
    -- Decides the entries of these keys, then writes their homes.
    if plain then
      local first, charged = out_at, false
      for _ = 1, times do
        local passes = true
        for l = 1, count do
          local rule = rules[l]
          local kind, ok = rule.kind, nil
          if kind == 'token_bucket' then
            local new, new_rem = rule.tat + rule.cost, rule.rem + rule.cost_rem
            if new_rem >= rule.n then
              new, new_rem = new + 1, new_rem - rule.n
            end
            ok = new < rule.burst or (new == rule.burst and new_rem <= rule.burst_rem)
            rule.new, rule.new_rem = new, new_rem
          elseif kind == 'sliding_window' then
            ok = rule.before * rule.left + (rule.used + rule.cost) * rule.steps <= rule.most
          else
            ok = rule.used + rule.cost <= rule.rate
          end
          rule.ok = ok
          passes = passes and (ok or rule.shadow)
        end
        for l = 1, count do
          local rule = rules[l]
          local kind, ok = rule.kind, rule.ok
          if passes and ok then
            rule.charged, charged = true, true
            if kind == 'token_bucket' then
              rule.tat, rule.rem = rule.new, rule.new_rem
            else
              rule.used = rule.used + rule.cost
            end
          end
          if kind == 'token_bucket' then
            out[out_at] = ok and rule.tat - now or now - rule.tat - 1
            if rule.n > 1 then
              out[out_at + 1] = rule.rem
              out_at = out_at + 1
            end
            out_at = out_at + 1
          elseif kind == 'sliding_window' then
            out[out_at] = ok and rule.before or -1 - rule.before
            out[out_at + 1], out[out_at + 2] = rule.used, rule.gone
            out_at = out_at + 3
          else
            out[out_at] = ok and rule.used or -1 - rule.used
            out[out_at + 1] = rule.stop - now
            out_at = out_at + 2
          end
        end
        for _ = homes + 1, width do
          out[out_at] = 0
          out_at = out_at + 1
        end
      end

      if charged then
        for h = 1, homes do
          local own, value, rests, p, touched = by_home[h], stored_in[h], now, 0, false
          for l = 1, #own do
            local rule = own[l]
            local kind, ends, text = rule.kind, nil, nil
            if not rule.charged then
              text = rule.from and sub(value, rule.from, rule.to)
              ends = text and tonumber(match(text, '^(%d+)', #rule.id + 1))
            elseif kind == 'token_bucket' then
              if rule.rem > 0 then
                ends = rule.tat + 1
                text = format('%s%d:%d:%d', rule.id, rule.tat, rule.rem, rule.n)
              else
                ends = rule.tat
                text = format('%s%d', rule.id, ends)
              end
            elseif kind == 'sliding_window' then
              ends = (rule.index + (rule.used > 0 and 2 or 1)) * rule.period
              text = format('%s%d%s%d:%d:%d', rule.id, ends, rule.name, rule.index, rule.before, rule.used)
            else
              ends = rule.stop
              text = format('%s%d%s%d%s', rule.id, ends, rule.name, rule.used, rule.begins)
            end
            touched = touched or rule.charged
            if text and ends >= now then
              p = p + 1
              parts[p] = text
              rests = ends > rests and ends or rests
            end
          end
          if touched then
            local text = p == 1 and parts[1] or table.concat(parts, '', 1, p)
            if p == 1 and sub(text, 1, 3) == ';=t' then
              text = sub(text, 4)
            end
            local k = key + h - 1
            if not change_of then
              write(k, text, rests)
            else
              local change = change_of[keys[k]]
              if not change then
                changes = changes + 1
                change = changes
                change_of[keys[k]], changed[change], firsts[change] = change, k, first
              end
              texts[change], rests_of[change] = text, rests
            end
          end
        end
      end
      key = key + width
      plain = key <= #keys
    end
  end

  for change = 1, changes do
    write(changed[change], texts[change], rests_of[change])
  end
  if put_off then
    write_all(fail)
  end
  for change = 1, changes do
    local k = changed[change]
    for later = key, failed[k] and 0 or #keys do -- which the driver decides
      if keys[later] == keys[k] then
        values[later] = texts[change]
      end
    end
  end
  if on_replica then
    return redis.error_reply(on_replica)
  end
  if key > #keys then
    return out
  end
end
