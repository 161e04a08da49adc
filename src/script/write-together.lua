--[[
  Writes the keys of a batch in few commands where the server has MSETEX (Redis 8.4, Valkey 9.1) and the user may run it.
  A key costs about two thirds of what it costs by PSETEX. All keys of one MSETEX expire together, so keys are written
  together whose TTLs differ little: a key is kept up to half longer than its state counts, never shorter.

  In:   KEYS
  Uses: FOREIGN_TYPE
  Out:  put_off      puts off the write of a key. Nil if keys are written one by one
        write_all    writes all that was put off. Hands each failure to `on_failure`, with the key's place in KEYS
]]
local put_off, write_all
-- Fewer keys would not make up for the tables. Redis has `acl_check_cmd` since 7.0; it fails for unknown commands.
if #KEYS >= 32 and redis.acl_check_cmd then
  local known, allowed = pcall(redis.acl_check_cmd, 'MSETEX', '1', KEYS[1], '', 'PX', '1')
  if known and allowed then
    local log, format, keys = math.log, string.format, KEYS
    local commands, places, ttls = {}, {}, {} -- by group

    -- `exists`: whether MGET showed the key. What it shows as absent may have a foreign type, and is only written if
    -- it is absent indeed.
    put_off = function(k, exists, ttl, text)
      local group = log(ttl) * 2.5 + 1
      group = group - group % 1 -- the longest TTL of a group is at most 1.5 times its shortest
      if not exists then
        group = -group
      end
      local command = commands[group]
      if not command then
        command = { 'MSETEX', 0 }
        commands[group], places[group], ttls[group] = command, {}, ttl
      end
      local size = command[2] + 1
      command[2], command[2 * size + 1], command[2 * size + 2] = size, keys[k], text
      places[group][size] = k
      if ttl > ttls[group] then
        ttls[group] = ttl
      end
    end

    write_all = function(on_failure)
      for group, command in pairs(commands) do
        local size, ttl = command[2], format('%d', ttls[group])
        local last = 2 * size + 2
        if group < 0 then
          last = last + 1
          command[last] = 'NX'
        end
        command[last + 1], command[last + 2] = 'PX', ttl
        -- If it fails it writes none. One by one, each key that can be written is.
        if size == 1 or redis.pcall(unpack(command)) ~= 1 then
          for i = 1, size do
            local key, text, written = command[2 * i + 1], command[2 * i + 2], nil
            if group < 0 then
              written = redis.pcall('SET', key, text, 'PX', ttl, 'NX')
            else
              written = redis.pcall('PSETEX', key, ttl, text)
            end
            if not written or written.err then
              on_failure(places[group][i], written and written.err or FOREIGN_TYPE)
            end
          end
        end
      end
    end
  end
end
