--[[
  The record of one reservation: what it was charged, until it is settled or expires; then, for a while, how it was
  settled. Twin of reservation-record.ts.

  In:   value 'held;ends;units;receipt;…' with a receipt per limit, '-' for a limit that was not charged;
        or 'settled;ends;charged;uncharged'; or none. Numbers that differ between limits are separated by commas, the
        charges of one limit by '|'. After `add`, 'ends+number' tells which was the last, and
        'ends+number+handle:number' the last of each handle that was resumed. `ends` is the instant in whole microseconds
        from which on the record no longer counts. What the last verb told of the limits follows behind a line feed
  Uses: FIRST_INEXACT, now
  Out:  nothing: the driver answers from it
]]
local reservation_record = {}

local UNCHARGED = '0' -- the receipt of a limit that let an estimate of 0 pass
local NOT_CHARGED = '-' -- that of a limit that refused the estimate
local LOST = 'x' -- that of units that can no longer be given back
local MAX_PIECES = 32
local NO_ADDS = {}
local MAX_HANDLES = 8 -- most handles whose last `add` a record knows

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

-- The handle of an `add`, with its colon, and its number: '' and 3 of '3'; nil if it is neither '3' nor '0a1b2c3d:3'.
local function read_add(add)
  local handle, number = string.match(add, '^(' .. string.rep('[%da-f]', 8) .. ':)(%d+)$')
  if not handle then
    handle, number = '', string.match(add, '^%d+$')
  end
  return number and handle, tonumber(number)
end

-- Splits what follows `ends`; nil if an `add` is unreadable.
local function read_adds(text)
  local adds = {}
  if text ~= '' and string.sub(text, 1, 1) ~= '+' then
    return nil
  end
  for add in string.gmatch(text, '%+([^+]*)') do
    local handle, number = read_add(add)
    if not handle or number >= FIRST_INEXACT then
      return nil
    end
    adds[#adds + 1] = add
  end
  return adds
end

reservation_record.NO_ADDS = NO_ADDS

function reservation_record.load(value)
  local state = {
    ends = 0,
    settled = false,
    adds = NO_ADDS,
    pieces = {},
    charged = {},
    uncharged = {},
    told = '',
    changed = false,
    algorithm = reservation_record,
  }
  if not value then
    return state
  end
  local ends, adds, units, rest, told = string.match(value, '^held;(%d+)([%da-f+:]*);([%d,|]+);([^\n]+)(.*)$')
  if ends then
    state.adds = read_adds(adds)
    state.pieces = read_pieces(units, rest)
  else
    ends, units, rest, told = string.match(value, '^settled;(%d+);([%d,]+);([%d,]+)(.*)$')
    if not ends or told ~= '' and string.sub(told, 1, 1) ~= '\n' then
      return nil
    end
    state.settled, state.charged, state.uncharged = true, numbers(units, ','), numbers(rest, ',')
    if not state.charged or not state.uncharged or #state.charged ~= #state.uncharged then
      return nil
    end
  end
  state.ends, state.told = tonumber(ends), string.sub(told, 2)
  if not state.pieces or not state.adds or state.ends >= FIRST_INEXACT then
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
  local line = state.told == '' and '' or '\n'
  if state.settled then
    local charged, uncharged = write_numbers(state.charged), write_numbers(state.uncharged)
    return string.format('settled;%d;%s;%s', state.ends, charged, uncharged) .. line .. state.told, state.ends
  end
  local adds = #state.adds > 0 and '+' .. table.concat(state.adds, '+') or ''
  return string.format('held;%d', state.ends) .. adds .. ';' .. write_pieces(state.pieces) .. line .. state.told, state.ends
end

-- What a process that resumes the reservation is told; nil if there is no record.
function reservation_record.tell(state)
  if state.ends <= now then
    return nil
  end
  return state.settled
      and '2:' .. write_numbers(state.charged) .. ';' .. write_numbers(state.uncharged) .. '\n' .. state.told
    or '1:' .. state.told
end

-- Whether the record has this `add` already.
function reservation_record.is_added(adds, add)
  local handle, number = read_add(add)
  for a = 1, #adds do
    local of, last = read_add(adds[a])
    if of == handle then
      return last >= number
    end
  end
  return false
end

-- The last `add` of each handle after this one. Of those that were resumed, the one that added least recently is forgotten.
function reservation_record.with_add(adds, add)
  local others, oldest, handle = {}, nil, read_add(add)
  for a = 1, #adds do
    local of = read_add(adds[a])
    if of ~= handle then
      others[#others + 1] = adds[a]
      oldest = oldest or of ~= '' and #others
    end
  end
  if #others >= MAX_HANDLES then
    table.remove(others, oldest or 1)
  end
  others[#others + 1] = add
  return others
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
