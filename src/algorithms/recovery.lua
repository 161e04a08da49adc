--[[
  The exact arithmetic of a token bucket: units, and the time in which they recover. Twin of recovery.ts.

  A spacing is a table with p and n: a unit recovers in p/n us. A time is whole microseconds and n-ths of one.

  In:   nothing
  Uses: FIRST_INEXACT
  Out:  recovery      the time in which units recover
        units_within  the units that recover within a time
        respaced      the time in which the units of a time recover by another spacing
]]

-- The quotient and the remainder of a * b / c, for a < c < 2^52. The product itself may exceed 2^53.
local function multiply_divide(a, b, c)
  local bit = 1
  while bit * 2 <= b do
    bit = bit * 2
  end
  local quotient, rest, left = 0, 0, b
  while bit >= 1 do
    quotient, rest = quotient * 2, rest * 2
    if rest >= c then
      quotient, rest = quotient + 1, rest - c
    end
    if left >= bit then
      left, rest = left - bit, rest + a
      if rest >= c then
        quotient, rest = quotient + 1, rest - c
      end
    end
    bit = bit / 2
  end
  return quotient, rest
end

-- Exactly units * p/n us, while that is below 2^53: whole microseconds, and n-ths of one.
local function recovery(units, spacing)
  local n = spacing.n
  local part = spacing.p % n
  local whole, parts = units * ((spacing.p - part) / n), units * part
  if parts >= FIRST_INEXACT then
    local int, rem = multiply_divide(part, units, n)
    return whole + int, rem
  end
  local rem = parts % n
  return whole + (parts - rem) / n, rem
end

-- The most whole units whose recovery is at most int + rem/n us; rem may be negative.
local function units_within(int, rem, spacing)
  local p, n = spacing.p, spacing.n
  if n == 1 then
    return int > 0 and math.floor(int / p) or 0
  end
  local whole, rest = int, rem
  if rem < 0 then
    whole, rest = int - 1, rem + n
  end
  local function fit(units)
    local needed, needed_rem = recovery(units, spacing)
    return needed < whole or (needed == whole and needed_rem <= rest)
  end
  -- The product may exceed 2^53. The estimate is then off by about one, and the exact comparisons below correct it.
  local units = math.max(0, math.floor((int * n + rem) / p))
  while units > 0 and not fit(units) do
    units = units - 1
  end
  while fit(units + 1) do
    units = units + 1
  end
  return units
end

-- The time in which the units that take int + rem/n us by spacing `from` recover by spacing `to`: rounded up to the
-- other's n-ths, and at most `top` microseconds.
local function respaced(int, rem, from, to, top)
  if int < 0 then
    return 0, 0
  end
  local estimate = (((int * from.n + rem) / from.p) * to.p) / to.n
  if estimate > top * 1.000001 + 2 then
    return top, 0
  end
  local units = units_within(int, rem, from)
  local whole, whole_rem = recovery(units, from)
  local rest = (int - whole) * from.n + rem - whole_rem
  local quotient, left = multiply_divide(rest, to.p, from.p)
  local parts = left > 0 and quotient + 1 or quotient
  local start, start_rem = recovery(units, to)
  local sum = start_rem + parts
  local time = start + (sum - sum % to.n) / to.n
  if time < top then
    return time, sum % to.n
  end
  return top, 0
end
