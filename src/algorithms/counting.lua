--[[
  What the limits have in common that count units, of which so many may count at a time. Twin of counting.ts.

  In:   counted(state, plan)      the units that count now
        take(state, plan, units)  counts so many more
  Out:  counting  an algorithm that prices and charges; its plans have `cost`, `rate`, and with debt `ceiling`
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

  -- The most units that may still be taken on, debt included.
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
