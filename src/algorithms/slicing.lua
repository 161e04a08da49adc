--[[
  The steps by which a limit gives a process a slice: units that are charged now and spent later, without asking. Twin of
  slicing.ts.

  In:   a request: `want`, units that the process expects to spend; `hold`, how long they must be good for at least;
        `ahead`, how far a turn may reach beyond the burst, 0 for no turns; `holders`, processes that hold a slice, this
        one included. Times are in microseconds
  Uses: now, recovery, units_within
  Out:  slicing  by name of an algorithm: offer, the most units of a slice that may be spent at once; turn, the most units
                 of one that may lie in the future; opens, when the last of its units can be spent; ends, when it ends
                 at the latest; cut, charges it, and returns where it begins after now
]]
local WINDOW_SLICE = 2000000

-- Where a slice begins: behind all charges, and late enough that its units are good for the time asked.
local function begin(state, request)
  if state.from < now + request.hold then
    return now + request.hold, 0
  end
  return state.from, state.from_rem
end

-- A state that several plans share gives no slices, nor one whose burst is too short to hold some of it back.
local function gives(state, plan, request)
  return not (state.lines and #state.lines > 0) and plan.is_own and request.hold * 4 <= plan.burst
end

local bucket = {}

function bucket.offer(state, plan, request)
  if not gives(state, plan, request) then
    return 0
  end
  local int, rem = begin(state, request)
  local room = units_within(now + plan.burst - int, plan.burst_rem - rem, plan)
  if room < 2 * request.holders then
    return 0
  end
  return math.min(math.floor(room / (2 * request.holders)), request.want, units_within(2 * request.hold, 0, plan))
end

function bucket.turn(state, plan, request)
  if not gives(state, plan, request) then
    return 0
  end
  local int, rem = begin(state, request)
  return math.min(
    math.max(request.want, request.cost),
    math.max(request.cost, math.floor(units_within(request.ahead, 0, plan) / request.holders)),
    units_within(now + plan.burst + request.ahead - int, plan.burst_rem - rem, plan)
  )
end

function bucket.opens(state, plan, units, request)
  return math.max(now, begin(state, request) + recovery(units, plan) - plan.burst + 2)
end

function bucket.ends(_, _, request)
  return now + request.hold + request.ahead
end

function bucket.cut(state, plan, units, request, opens, ends)
  local price, price_rem = recovery(units, plan)
  -- Where other limits open late, units must be good until the slice ends, or for as long as all are open then.
  local good = opens > now and math.min(ends, opens + plan.burst - price) - opens or 0
  local int, rem = begin(state, { hold = opens + math.max(request.hold, good) - now })
  local tat, parts = int + price, rem + price_rem
  if parts >= plan.n then
    tat, parts = tat + 1, parts - plan.n
  end
  plan.algorithm.charge_slice(state, plan, tat, parts, ends)
  return int - now, rem
end

-- `bounds` returns a window's length and when it ends.
local function window(bounds)
  local slicing = {}

  function slicing.offer(state, plan, request)
    -- Windows of other lengths may end earlier, and count the slice as well.
    if #state.windows ~= 1 then
      return 0
    end
    local most = math.floor(2 * plan.rate * request.hold / bounds(state, plan))
    return math.min(request.want, most, math.floor(plan.algorithm.fits(state, plan) / (4 * request.holders)))
  end

  slicing.turn = slicing.offer

  function slicing.opens()
    return now
  end

  function slicing.ends(state, plan)
    local _, stops = bounds(state, plan)
    return math.min(stops, now + WINDOW_SLICE)
  end

  function slicing.cut(state, plan, units)
    local cost, mine = plan.cost, {}
    for name, value in pairs(state.mine) do
      mine[name] = value
    end
    plan.cost = units
    plan.algorithm.charge(state, plan)
    plan.cost, state.mine = cost, mine
    return 0, 0
  end

  return slicing
end

local slicing = {
  token_bucket = bucket,
  sliding_window = window(function(state, plan)
    return plan.period, now - state.mine.gone + plan.period
  end),
  fixed_window = window(function(state)
    return state.mine.stop - state.mine.start, state.mine.stop
  end),
}
