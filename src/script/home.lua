--[[
  The home of an identity: one value that holds the states of all its limits whose states are strings. Twin of home.ts.

  A state's text begins with the instant from which on it no longer counts, so a home keeps, and later drops, states of
  limits that no call names.

  In:   value  the state itself while the unnamed token bucket's is the only one; else ';id' and the state, for each of
               them; or none
  Uses: now, FIRST_INEXACT, UNREADABLE
  Out:  read_home    makes a home of a value: `failure` if none of its states can be read; `texts`, the ids in order and
                     by id the text as stored, false for one that has changed; and by id the state, once it is loaded
        note_change  notes that the state under an id has changed, in a call that named these ids: they are written
                     first, in its order, where home-path.lua looks for them
        drop_state   takes the state under an id out of a home
        home_value   the value after all changes, and when its last state no longer counts; nil if nothing is left
        remembers_resets   whether a reset may leave behind what makes older receipts worthless
        MAX_STATES, CROWDED   the most states of one home, and the message for an entry that needs more
]]
local MAX_STATES = 32
-- Most states of a home that remembers resets: a call under 16 more limits still finds room.
local MAX_REMEMBERING = 16
local CROWDED = 'CROWDED The identity has 32 states that still count, and no room for another'

local function read_home(value)
  local texts, failure = {}, false
  if not value then
    return { texts = texts, front = {}, failure = false }
  end
  local plain = string.match(value, '^(%d+)[^;]*$')
  if plain and tonumber(plain) < FIRST_INEXACT then
    texts[1], texts['=t'] = '=t', value
    return { texts = texts, front = {}, failure = false, rested = tonumber(plain) < now }
  end
  local at = 1
  repeat
    local _, stop, id, text = string.find(value, '^;([%w_.-]*=%l)(%d[^;]*)', at)
    local rests = text and tonumber(string.match(text, '^%d+')) or FIRST_INEXACT
    if rests >= FIRST_INEXACT or texts[id] then
      texts, failure = {}, UNREADABLE
      break
    end
    if rests >= now then
      texts[#texts + 1], texts[id] = id, text
    end
    at = stop + 1
  until at > #value
  return { texts = texts, front = {}, failure = failure }
end

local function remembers_resets(home)
  return not home.failure and #home.texts <= MAX_REMEMBERING
end

-- The ids in the order in which they are written.
local function order_of(home)
  local texts, ids, seen = home.texts, {}, {}
  for _, list in ipairs({ home.front, texts }) do
    for i = 1, #list do
      local id = list[i]
      if texts[id] ~= nil and not seen[id] then
        ids[#ids + 1], seen[id] = id, true
      end
    end
  end
  return ids
end

local function drop_text(home, id)
  local texts = home.texts
  home[id], texts[id] = nil, nil
  for i = #texts, 1, -1 do
    if texts[i] == id then
      table.remove(texts, i)
    end
  end
end

-- A write for another id drops the unnamed bucket's text that no longer counts, be it unreadable.
local function drop_rested(home, id)
  if home.rested and id ~= '=t' then
    home.rested = false
    local state = home['=t']
    if home.texts['=t'] and (not state or state.failure) then
      drop_text(home, '=t')
    end
  end
end

local function drop_state(home, id)
  drop_rested(home, id)
  drop_text(home, id)
end

local function note_change(home, id, named)
  drop_rested(home, id)
  local texts = home.texts
  if home.front ~= named then
    for i, each in ipairs(order_of(home)) do
      texts[i] = each
    end
    home.front = named
  end
  if texts[id] == nil then
    texts[#texts + 1] = id
  end
  texts[id] = false
end

local function home_value(home)
  local parts, latest, only = {}, now, nil
  for _, id in ipairs(order_of(home)) do
    local text, rests = home.texts[id], nil
    if text then
      rests = tonumber(string.match(text, '^%d+'))
    else
      text, rests = home[id].algorithm.encode(home[id])
    end
    if text and rests >= now then
      parts[#parts + 1] = ';' .. id .. text
      latest = math.max(latest, rests)
      only = id == '=t' and text
    end
  end
  if #parts == 0 then
    return nil
  end
  return #parts == 1 and only or table.concat(parts), latest
end
