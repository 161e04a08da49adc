--[[
  The record of one reservation: what it was charged, until it is settled or expires; then, for a while, how it was
  settled. Twin of reservation-record.ts.

  In:   value 'held;ends;units;receipt;…' with a receipt per limit, '-' for a limit that was not charged;
        or 'settled;ends;charged;uncharged'; or none. Numbers that differ between limits are separated by commas, the
        charges of one limit by '|'. After `add`, 'ends+adds' tells which was the last. `ends` is the instant in whole
        microseconds from which on the record no longer counts
  Uses: FIRST_INEXACT
  Out:  nothing: the driver answers from it
]]
local reservation_record = {}

local UNCHARGED = '0' -- the receipt of a limit that let an estimate of 0 pass
local NOT_CHARGED = '-' -- that of a limit that refused the estimate
local LOST = 'x' -- that of units that can no longer be given back
local MAX_PIECES = 32

local function split(text, separator)
  local parts = {}
  for part in string.gmatch(text .. separator, '([^' .. separator .. ']*)' .. separator) do
    parts[#parts + 1] = part
  end
  return parts
end

-- Splits a text into whole numbers; nil if a part is not a whole number, or is too large.
local function numbers(text, separator)
  local parts = split(text, separator)
  for i = 1, #parts do
    local number = string.find(parts[i], '^%d+$') and tonumber(parts[i])
    if not number or number >= FIRST_INEXACT then
      return nil
    end
    parts[i] = number
  end
  return parts
end

-- Nil if the numbers of units and of receipts differ, or units are too many.
local function read_pieces(units, receipts)
  local of_limits, given = split(receipts, ';'), split(units, ',')
  if #given ~= 1 and #given ~= #of_limits then
    return nil
  end
  for l = 1, #of_limits do
    local pieces, counts = split(of_limits[l], '|'), numbers(given[#given == 1 and 1 or l], '|')
    if not counts or #counts ~= #pieces then
      return nil
    end
    for p = 1, #pieces do
      pieces[p] = { units = counts[p], receipt = pieces[p] }
    end
    of_limits[l] = pieces
  end
  return of_limits
end

function reservation_record.load(value)
  local state = {
    ends = 0,
    settled = false,
    adds = 0,
    pieces = {},
    charged = {},
    uncharged = {},
    changed = false,
    algorithm = reservation_record,
  }
  if not value then
    return state
  end
  local ends, units, rest = string.match(value, '^held;([%d+]+);([%d,|]+);(.+)$')
  if ends then
    local last, adds = string.match(ends, '^(%d+)%+(%d+)$')
    ends, state.adds = last or ends, tonumber(adds) or 0
    state.pieces = string.find(ends, '^%d+$') and read_pieces(units, rest)
  else
    ends, units, rest = string.match(value, '^settled;(%d+);([%d,]+);([%d,]+)$')
    if not ends then
      return nil
    end
    state.settled, state.charged, state.uncharged = true, numbers(units, ','), numbers(rest, ',')
    if not state.charged or not state.uncharged or #state.charged ~= #state.uncharged then
      return nil
    end
  end
  state.ends = tonumber(ends)
  if not state.pieces or math.max(state.ends, state.adds) >= FIRST_INEXACT then
    return nil
  end
  return state
end

local function write_numbers(list)
  local texts = {}
  for i = 1, #list do
    texts[i] = string.format('%d', list[i])
  end
  return table.concat(texts, ',')
end

local function write_pieces(pieces)
  local units, receipts, same = {}, {}, true
  for l = 1, #pieces do
    local counts, texts = {}, {}
    for p = 1, #pieces[l] do
      counts[p], texts[p] = string.format('%d', pieces[l][p].units), pieces[l][p].receipt
    end
    units[l], receipts[l] = table.concat(counts, '|'), table.concat(texts, '|')
    same = same and units[l] == units[1]
  end
  return (same and units[1] or table.concat(units, ',')) .. ';' .. table.concat(receipts, ';')
end

function reservation_record.encode(state)
  if state.settled then
    return string.format('settled;%d;%s;%s', state.ends, write_numbers(state.charged), write_numbers(state.uncharged)),
      state.ends
  end
  local ends = string.format(state.adds > 0 and '%d+%d' or '%d', state.ends, state.adds)
  return 'held;' .. ends .. ';' .. write_pieces(state.pieces), state.ends
end

-- Whether the limit was charged for the reservation: an enforced one always was.
function reservation_record.is_charged(pieces)
  return pieces[1].receipt ~= NOT_CHARGED
end

-- The charge for the estimate, as a list of charges.
function reservation_record.first(state, plan, charged)
  local units, receipt = plan.asks or 0, charged and UNCHARGED or NOT_CHARGED
  if charged and units > 0 then
    receipt = plan.algorithm.receipt(state, plan)
  end
  return { { units = units, receipt = receipt } }
end

-- All units that the reservation charged a limit.
function reservation_record.units_of(pieces)
  local sum = 0
  for p = 1, #pieces do
    sum = sum + pieces[p].units
  end
  return sum
end

-- Adds a charge to those of a limit.
function reservation_record.add(pieces, piece)
  local last = pieces[#pieces]
  if last.units == 0 then
    return { piece }
  end
  if last.receipt == piece.receipt then
    last.units = last.units + piece.units
    return pieces
  end
  if #pieces >= MAX_PIECES then
    local first = table.remove(pieces, 1)
    pieces[1] = { units = first.units + pieces[1].units, receipt = LOST }
  end
  pieces[#pieces + 1] = piece
  return pieces
end

-- Reads the receipts of a limit's charges into `parsed`; false if one is unreadable.
function reservation_record.parse(pieces, algorithm)
  for p = 1, pieces and #pieces or 0 do
    local piece = pieces[p]
    if piece.units > 0 and piece.receipt ~= NOT_CHARGED and piece.receipt ~= LOST then
      piece.parsed = algorithm.parse and algorithm.parse(piece.receipt) -- a block has none
      if not piece.parsed then
        return false
      end
    end
  end
  return pieces ~= nil
end
