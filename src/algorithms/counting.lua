--[[
  Shared by limits that cap a count of units: both windows and the log. Twin of counting.ts.

  In:   counted(state, plan)      the units that count now
        take(state, plan, units)  adds units to the count
  Out:  counting  makes an algorithm that prices and charges; its plans have `cost`, `rate` and `ceiling`, the rate
                  and the debt on top of it
]]
local function counting(counted, take)
  local algorithm = {}

  function algorithm.price(plan, units)
    plan.cost = units
  end

  function algorithm.charge(state, plan)
    take(state, plan, plan.cost)
  end

  function algorithm.fits(state, plan)
    return math.max(0, plan.rate - counted(state, plan))
  end

  -- The most units that can still be charged, debt included.
  function algorithm.room(state, plan)
    return math.max(0, plan.ceiling - counted(state, plan))
  end

  function algorithm.penalize(state, plan)
    local units = math.min(plan.cost, plan.ceiling - counted(state, plan))
    if units > 0 then
      take(state, plan, units)
    end
  end

  return algorithm
end
