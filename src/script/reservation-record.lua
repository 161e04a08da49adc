--[[
  The record of one reservation: what it was charged, until it is settled or expires; then, for a while, how it was
  settled. Twin of reservation-record.ts.

  In:   value 'held;ends;cost;receipt;…' with a receipt per limit, '-' for a limit that was not charged;
        or 'settled;ends;charged;uncharged'; or none. `ends` is the instant in whole microseconds from which on the
        record no longer counts
  Uses: FIRST_INEXACT
  Out:  nothing: the driver answers from it
]]
local reservation_record = {}

function reservation_record.load(value)
  local state = {
    ends = 0,
    settled = false,
    cost = 0,
    receipts = false,
    parsed = false,
    charged = 0,
    uncharged = 0,
    changed = false,
    algorithm = reservation_record,
  }
  if not value then
    return state
  end
  local ends, first, rest = string.match(value, '^held;(%d+);(%d+);(.+)$')
  if ends then
    state.receipts = {}
    for receipt in string.gmatch(rest .. ';', '([^;]*);') do
      state.receipts[#state.receipts + 1] = receipt
    end
    state.cost = tonumber(first)
  else
    ends, first, rest = string.match(value, '^settled;(%d+);(%d+);(%d+)$')
    if not ends then
      return nil
    end
    state.settled, state.charged, state.uncharged = true, tonumber(first), tonumber(rest)
  end
  state.ends = tonumber(ends)
  if math.max(state.ends, state.cost, state.charged, state.uncharged) >= FIRST_INEXACT then
    return nil
  end
  return state
end

function reservation_record.encode(state)
  local value
  if state.settled then
    value = string.format('settled;%d;%d;%d', state.ends, state.charged, state.uncharged)
  else
    value = string.format('held;%d;%d;%s', state.ends, state.cost, table.concat(state.receipts, ';'))
  end
  return value, state.ends
end
