--[[
  The long form of a token bucket's state: one arrival time for each plan that limits the key, advanced by every charge.
  Twin of bucket-lines.ts.

  The unlabelled line is the state's own tat, rem and n. Every process reads it in the spacing of its own limit. A
  labelled line belongs to a plan that was passed with a call, or to an own limit that the unlabelled line does not
  serve; its label is p, n, units (the burst) and debt.

  In:   value 'rests:v1:at:tat:rem:n:top:epoch:given:given_rem:until', and
              ':sliced:sliced_until' while processes hold slices, then for each labelled line
              ',id:p:n:units:debt:tat:rem:given:given_rem'. Arrival times and until are microseconds after at
  Uses: now, FIRST_INEXACT, JITTER, LONGEST_SLICE, MAX_UNITS, MAX_RECOVERY, recovery, units_within, respaced
  Out:  bucket_lines  steps of token-bucket.lua for states with several lines
]]
local bucket_lines = {}

local MAX_LINES = 8
-- A line that was given back so much gives nothing more back, so that the sum stays exact.
local MOST_GIVEN = FIRST_INEXACT / 2

local function is_same(a, b)
  return a.p == b.p and a.n == b.n and a.units == b.units and a.debt == b.debt
end

local function is_beyond(int, rem, top)
  return int > top or (int == top and rem > 0)
end

local function ceiled(int, rem)
  return rem > 0 and int + 1 or int
end

-- As far as a line of this label may run ahead of now.
local function top_of(label)
  return ceiled(recovery(label.units + label.debt, label)) + JITTER
end

-- Adds to a plan, and to the own limit beside it, what the arguments leave out: label, top, and the cost in units.
local function complete(plan)
  if not plan.top then
    plan.units = units_within(plan.burst, plan.burst_rem, plan)
    plan.debt = units_within(plan.ceiling, plan.ceiling_rem, plan) - plan.units
    plan.top = top_of(plan)
    if plan.beside then
      plan.beside.top = top_of(plan.beside)
    end
  end
  plan.charge = plan.charge or units_within(plan.cost, plan.cost_rem, plan)
end

-- The numbers of the limiter's own limit; nil if it has none.
local function own_of(plan)
  if plan.is_own then
    return plan
  end
  return plan.beside
end

-- A time in n-ths of another size is rounded up to whole microseconds: against the caller, by less than 1 us.
local function in_parts(int, rem, n, wanted)
  if n == wanted then
    return int, rem
  end
  return ceiled(int, rem), 0
end

local function give(line, n, int, rem)
  line.given, line.given_rem = line.given + int, line.given_rem + rem
  if line.given_rem >= n then
    line.given, line.given_rem = line.given + 1, line.given_rem - n
  end
  if line.given >= MOST_GIVEN then
    line.given, line.given_rem = MOST_GIVEN, 0
  end
end

-- Receipts of charges before this count what was given back on the unlabelled line since then.
local function note_given(state)
  if state.epoch == 0 then
    state.epoch = now
  end
  state.until_ = state.rests
end

-- Notes how far slices reach that processes still hold. After a step of the clock none of them is spent any more.
function bucket_lines.note_slices(state, sliced, until_)
  if until_ > now and until_ <= now + LONGEST_SLICE and sliced > now then
    state.sliced, state.sliced_until = sliced, until_
  end
end

-- Charges a line, at most up to its top. What the top cuts off counts as given back.
local function advance(line, p, n, units, top)
  if line.tat < now then
    line.tat, line.rem = now, 0
  end
  local int, rem = top, 0
  if not ((units * p) / n > top) then
    int, rem = recovery(units, { p = p, n = n })
  end
  if is_beyond(line.tat - now, line.rem, top) then
    return give(line, n, int, rem)
  end
  int, rem = int + line.tat, rem + line.rem
  if rem >= n then
    int, rem = int + 1, rem - n
  end
  if is_beyond(int - now, rem, top) then
    give(line, n, int - now - top, rem)
    line.tat, line.rem = now + top, 0
  else
    line.tat, line.rem = int, rem
  end
end

-- Gives a plain state its long form, without a labelled line. An arrival time further ahead than any limit reaches, as a
-- clock in the wrong century leaves it, is brought so near that the arithmetic stays exact.
local function lengthen(state, own)
  if state.lines then
    return
  end
  if state.tat - now > 2 * MAX_RECOVERY then
    state.tat = now + 2 * MAX_RECOVERY
  end
  local rests = ceiled(state.tat, state.rem)
  state.n = state.rem > 0 and state.n or 1
  state.lines, state.at, state.rests = {}, now, math.max(now, rests)
  state.given, state.given_rem, state.epoch, state.until_ = 0, 0, 0, 0
  state.top = math.max(own and own.top or 0, rests - now)
end

-- A line for a plan that has none: with the most units that any line counted at the last charge.
local function start_line(state, plan, tat, rem, at)
  local from = own_of(plan) or plan
  local most, most_rem = respaced(tat - at, rem, from, plan, plan.top)
  local lines = state.lines or {}
  for l = 1, #lines do
    local line = lines[l]
    local int, part = respaced(line.tat - at, line.rem, line, plan, plan.top)
    if int > most or (int == most and part > most_rem) then
      most, most_rem = int, part
    end
  end
  return {
    id = 0,
    p = plan.p,
    n = plan.n,
    units = plan.units,
    debt = plan.debt,
    tat = at + most,
    rem = most_rem,
    given = 0,
    given_rem = 0,
  }
end

local function set_from(state, line, tat, rem)
  state.line = line
  if tat < now then
    state.from, state.from_rem = now, 0
  else
    state.from, state.from_rem = tat, rem
  end
end

-- Finds the line that counts for this plan, and sets line, from and from_rem. Changes the state only if the own limit
-- finds a plain state beyond its top, so that time counts from now on.
function bucket_lines.find(state, plan)
  complete(plan)
  local own = own_of(plan)
  local tat, rem = in_parts(state.tat, state.rem, state.n, (own or plan).n)
  if not state.lines and plan.is_own then
    if not is_beyond(tat - now, rem, plan.top) then
      return set_from(state, false, tat, rem)
    end
    lengthen(state, own)
    state.changed = true
  end
  local at, lines = state.lines and state.at or now, state.lines or {}
  for l = 1, #lines do
    if is_same(lines[l], plan) then
      return set_from(state, lines[l], lines[l].tat, lines[l].rem)
    end
  end
  if plan.is_own and state.top >= plan.top and not is_beyond(tat - at, rem, plan.top) then
    return set_from(state, false, tat, rem)
  end
  local line = start_line(state, plan, tat, rem, at)
  set_from(state, line, line.tat, line.rem)
end

-- Counts the unlabelled line in n-ths of this size.
local function bring_into(state, n)
  state.tat, state.rem = in_parts(state.tat, state.rem, state.n, n)
  state.given, state.given_rem = in_parts(state.given or 0, state.given_rem or 0, state.n, n)
  state.n = n
end

-- Keeps a new line. A ninth displaces the one that rests first, but never that of the most units nor itself.
local function insert(state, mine)
  local lines, id, most = state.lines, now, mine
  for l = 1, #lines do
    local line = lines[l]
    id = math.max(id, line.id + 1)
    most = line.units + line.debt > most.units + most.debt and line or most
  end
  if #lines >= MAX_LINES then
    local first
    for l = 1, #lines do
      if lines[l] ~= most and (not first or lines[l].tat < lines[first].tat) then
        first = l
      end
    end
    table.remove(lines, first)
  end
  mine.id = id
  lines[#lines + 1] = mine
end

-- The own limit's labelled line becomes the unlabelled one, once it counts no less.
local function merge_own(state, own)
  local lines = state.lines
  for l = 1, #lines do
    local line = lines[l]
    if is_same(line, own) then
      if
        state.top <= own.top
        and (state.tat < line.tat or (state.tat == line.tat and state.rem <= line.rem))
      then
        state.tat, state.rem, state.top = line.tat, line.rem, own.top
        table.remove(lines, l)
      end
      return
    end
  end
end

-- A state with nothing to remember but the unlabelled line is plain again.
local function shorten(state, own)
  if
    #state.lines == 0
    and (state.epoch == 0 or state.until_ <= now)
    and not is_beyond(state.tat - now, state.rem, own.top)
  then
    state.lines, state.given, state.given_rem, state.epoch, state.until_ = false, 0, 0, 0, 0
  end
end

-- Charges a slice of the unlabelled line, up to this arrival time. Called for a state without labelled lines.
function bucket_lines.charge_slice(state, plan, tat, rem, ends)
  bring_into(state, plan.n)
  state.tat, state.rem = tat, rem
  state.sliced = ceiled(tat, rem)
  state.sliced_until = math.max(state.sliced_until, ends)
  if state.lines then
    state.at, state.rests = now, math.max(state.rests, state.sliced)
  end
  state.changed = true
end

-- Sets the plan's own line to an arrival time, and charges the plan's cost to all others.
function bucket_lines.charge(state, plan, tat, rem)
  complete(plan)
  local own = own_of(plan)
  local spacing = own or plan
  lengthen(state, own)
  bring_into(state, spacing.n)
  local lines, mine, is_new = state.lines, state.line, true
  for l = 1, #lines do
    local line = lines[l]
    if line == mine then
      is_new = false
    else
      advance(line, line.p, line.n, plan.charge, top_of(line))
    end
  end
  local given, given_rem = state.given, state.given_rem
  if mine then
    advance(state, spacing.p, spacing.n, plan.charge, state.top)
    mine.tat, mine.rem = tat, rem
    if is_new then
      insert(state, mine)
    end
  else
    state.tat, state.rem = tat, rem
  end
  state.from, state.from_rem = tat, rem
  if own then
    merge_own(state, own)
  end
  state.at, state.rests = now, math.max(state.rests, ceiled(state.tat, state.rem))
  for l = 1, #lines do
    state.rests = math.max(state.rests, ceiled(lines[l].tat, lines[l].rem))
  end
  if state.given ~= given or state.given_rem ~= given_rem then
    note_given(state)
  end
  if own then
    shorten(state, own)
  end
  state.changed, state.forgotten = true, false
end

-- The first refusal under another plan fixes from when on that plan recovers.
function bucket_lines.refuse(state, plan)
  if not state.lines and not plan.is_own and ceiled(state.tat, state.rem) > now then
    complete(plan)
    lengthen(state, plan.beside)
    state.changed = true
  end
end

-- Forgets all charges. Keeps what makes their receipts worthless; returns whether anything has to be kept.
function bucket_lines.reset(state, plan)
  if (state.lines and state.rests or ceiled(state.tat, state.rem)) <= now then
    return false
  end
  complete(plan)
  local own = own_of(plan)
  lengthen(state, own)
  if state.tat >= now then
    give(state, state.n, state.tat - now, state.rem)
  end
  note_given(state)
  state.tat, state.rem, state.at, state.lines = now, 0, now, {}
  state.top = math.max(state.top, own and own.top or 0)
  state.changed, state.forgotten = true, true
  return true
end

-- What a charge still holds back on a line: nothing of it that has recovered or was given back before. `base` is now, or
-- the instant below which nothing is given back.
local function held_back(line, charged, price, price_rem, n, base)
  local int = charged.tat - (line.given - charged.given) - base
  local rem = charged.rem - (line.given_rem - charged.given_rem)
  if rem < 0 then
    int, rem = int - 1, rem + n
  elseif rem >= n then
    int, rem = int + 1, rem - n
  end
  local left = line.tat - base
  local is_other = left < int or (left == int and line.rem < rem)
  if price < int or (price == int and price_rem < rem) then
    int, rem = price, price_rem
  end
  -- An arrival time falls by what is given back alone, so one before the charge's belongs to another charge.
  if int < 0 or is_other or line.given >= MOST_GIVEN then
    return 0, 0
  end
  return int, rem
end

local function lower(line, n, int, rem)
  line.tat, line.rem = line.tat - int, line.rem - rem
  if line.rem < 0 then
    line.tat, line.rem = line.tat - 1, line.rem + n
  end
end

-- Gives back `units` of the receipt's charge on every line that was charged; as a gift, of all charges so far.
function bucket_lines.restore(state, plan, receipt, units, is_gift)
  complete(plan)
  local own = own_of(plan)
  local n = (own or plan).n
  local view = {}
  view.tat, view.rem = in_parts(state.tat, state.rem, state.n, n)
  view.given, view.given_rem = in_parts(state.given or 0, state.given_rem or 0, state.n, n)
  local same, of_epoch = receipt.n == n, receipt.id == (state.epoch or 0)
  local price, price_rem = recovery(units, receipt)
  -- n-ths of another size: rounded against the caller, by less than 1 us
  local charged = {
    tat = receipt.tat,
    rem = same and receipt.rem or 0,
    given = of_epoch and receipt.given or 0,
    given_rem = of_epoch and same and receipt.given_rem or 0,
  }
  local int, rem = held_back(view, charged, price, same and price_rem or 0, n, state.sliced or now)
  if int > 0 or rem > 0 then
    -- After the last charge of a plain state there is no charge whose receipt would have to know of this.
    local is_last = not is_gift
      and not state.lines
      and #receipt.lines == 0
      and same
      and charged.tat == view.tat
      and charged.rem == view.rem
    if is_last then
      bring_into(state, n)
    else
      lengthen(state, own)
      bring_into(state, n)
      give(state, n, int, rem)
      note_given(state)
    end
    lower(state, n, int, rem)
    state.changed = true
  end
  local lines = state.lines or {}
  for r = 1, #receipt.lines do
    local its = receipt.lines[r]
    for l = 1, #lines do
      local line = lines[l]
      if line.id == its.id and its.rem < line.n and its.given_rem < line.n then
        price, price_rem = recovery(units, line)
        int, rem = held_back(line, its, price, price_rem, line.n, now)
        if int > 0 or rem > 0 then
          give(line, line.n, int, rem)
          lower(line, line.n, int, rem)
          state.changed = true
        end
      end
    end
  end
end

-- Gives units back on every line, each at most what it counts.
function bucket_lines.credit(state, plan, units)
  local own = own_of(plan) or plan
  local receipt = { p = own.p, n = own.n, id = state.epoch or 0, lines = state.lines or {} }
  receipt.tat, receipt.rem = in_parts(state.tat, state.rem, state.n, own.n)
  receipt.given, receipt.given_rem = in_parts(state.given or 0, state.given_rem or 0, state.n, own.n)
  -- As if all that counts had been one charge just now.
  bucket_lines.restore(state, plan, receipt, units, true)
end

-- What `restore` must know of the charge just made.
function bucket_lines.receipt(state, plan)
  local text = string.format('%d:%d:%d:%d', (own_of(plan) or plan).p, state.n, state.tat, state.rem)
  if not state.lines then
    return text
  end
  local parts = { string.format('%s:%d:%d:%d', text, state.epoch, state.given, state.given_rem) }
  for l = 1, #state.lines do
    local line = state.lines[l]
    parts[l + 1] = string.format('%d:%d:%d:%d:%d', line.id, line.tat, line.rem, line.given, line.given_rem)
  end
  return table.concat(parts, ',')
end

local function are_exact(...)
  for _, number in ipairs({ ... }) do
    if not (number < FIRST_INEXACT) then
      return false
    end
  end
  return true
end

-- Reads a receipt; nil for any other text.
function bucket_lines.parse(text)
  local p, n, tat, rem, rest = string.match(text, '^(%d+):(%d+):(%d+):(%d+)(.*)$')
  if not p then
    return nil
  end
  local id, given, given_rem, labelled = string.match(rest, '^:(%d+):(%d+):(%d+)(.*)$')
  labelled = labelled or rest
  local receipt = {
    p = tonumber(p),
    n = tonumber(n),
    tat = tonumber(tat),
    rem = tonumber(rem),
    id = tonumber(id or 0),
    given = tonumber(given or 0),
    given_rem = tonumber(given_rem or 0),
    lines = {},
  }
  if
    not are_exact(receipt.p, receipt.n, receipt.tat, receipt.id, receipt.given)
    or receipt.n < 1
    or receipt.n > MAX_UNITS
    or receipt.rem >= receipt.n
    or receipt.given_rem >= receipt.n
    or not (labelled == '' or string.sub(labelled, 1, 1) == ',')
  then
    return nil
  end
  for part in string.gmatch(labelled, ',([^,]*)') do
    id, tat, rem, given, given_rem = string.match(part, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
    if not id or #receipt.lines == MAX_LINES then
      return nil
    end
    local line = {
      id = tonumber(id),
      tat = tonumber(tat),
      rem = tonumber(rem),
      given = tonumber(given),
      given_rem = tonumber(given_rem),
    }
    if not are_exact(line.id, line.tat, line.rem, line.given, line.given_rem) then
      return nil
    end
    receipt.lines[#receipt.lines + 1] = line
  end
  return receipt
end

function bucket_lines.write(state)
  local at = state.at
  local parts = {
    string.format(
      '%d:v1:%d:%d:%d:%d:%d:%d:%d:%d:%d',
      state.rests,
      at,
      math.max(0, state.tat - at),
      state.rem,
      state.n,
      state.top,
      state.epoch,
      state.given,
      state.given_rem,
      math.max(0, state.until_ - at)
    ),
  }
  if state.sliced and state.sliced > at then
    parts[1] = string.format('%s:%d:%d', parts[1], state.sliced - at, math.max(0, state.sliced_until - at))
  end
  for l = 1, #state.lines do
    local line = state.lines[l]
    parts[l + 1] = string.format(
      '%d:%d:%d:%d:%d:%d:%d:%d:%d',
      line.id,
      line.p,
      line.n,
      line.units,
      line.debt,
      line.tat - at,
      line.rem,
      line.given,
      line.given_rem
    )
  end
  return table.concat(parts, ',')
end

local function read_line(text, at, rests)
  local id, p, n, units, debt, tat, rem, given, given_rem =
    string.match(text, '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$')
  if not id then
    return nil
  end
  local line = {
    id = tonumber(id),
    p = tonumber(p),
    n = tonumber(n),
    units = tonumber(units),
    debt = tonumber(debt),
    tat = tonumber(tat),
    rem = tonumber(rem),
    given = tonumber(given),
    given_rem = tonumber(given_rem),
  }
  if
    line.p < 1
    or line.n < 1
    or line.n > MAX_UNITS
    or not (((line.units + line.debt + 1) * line.p) / line.n <= 2 * MAX_RECOVERY)
    or not are_exact(line.id, line.given)
    or line.rem >= line.n
    or line.given_rem >= line.n
    or ceiled(line.tat, line.rem) > rests
  then
    return nil
  end
  line.tat = at + line.tat
  return line
end

-- Reads the long form into a fresh plain state; false if this library did not write it.
function bucket_lines.read(state, value)
  local rested, at, tat, rem, n, top, epoch, given, given_rem, until_, rest =
    string.match(value, '^(%d+):v1:(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)(.*)$')
  if not at then
    return false
  end
  local sliced, sliced_until, labelled = string.match(rest, '^:(%d+):(%d+)(.*)$')
  rest = labelled or rest
  if not (rest == '' or string.sub(rest, 1, 1) == ',') then
    return false
  end
  rested, at, tat, rem, n = tonumber(rested), tonumber(at), tonumber(tat), tonumber(rem), tonumber(n)
  local rests = rested - at
  top, epoch, until_ = tonumber(top), tonumber(epoch), tonumber(until_)
  given, given_rem = tonumber(given), tonumber(given_rem)
  if
    rests < 0
    or not are_exact(rested, at + top, epoch, given)
    or n < 1
    or n > MAX_UNITS
    or rem >= n
    or given_rem >= n
    or ceiled(tat, rem) > rests
    or until_ > rests
  then
    return false
  end
  local lines = {}
  for part in string.gmatch(rest, ',([^,]*)') do
    local line = read_line(part, at, rests)
    if not line or #lines == MAX_LINES then
      return false
    end
    lines[#lines + 1] = line
  end
  local back = math.max(0, at - now)
  local start = at - back
  if start + rests <= now then
    return true -- all lines rest
  end
  state.lines, state.at, state.rests, state.until_ = lines, start, start + rests, start + until_
  state.tat, state.rem, state.n, state.top = start + tat, rem, n, top
  state.epoch, state.given, state.given_rem = epoch, given, given_rem
  if back == 0 and sliced then
    bucket_lines.note_slices(state, at + tonumber(sliced), at + tonumber(sliced_until))
  end
  if back > 0 then
    -- The clock stepped back: so do all lines, and receipts tell.
    give(state, n, back, 0)
    note_given(state)
    state.changed = true
    for l = 1, #lines do
      lines[l].tat = lines[l].tat - back
      give(lines[l], lines[l].n, back, 0)
    end
  end
  return true
end
