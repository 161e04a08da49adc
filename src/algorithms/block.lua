--[[
  block: nothing passes until an instant. A state of its own beside the limits, which no call changes but one that
  starts a ban. Twin of block.ts.

  In:   ARGV  duration in whole microseconds
        value 'until', or none
  Uses: now, FIRST_INEXACT
  Out:  0; or, if it refuses, -1 - microseconds left
]]
local block = {}

function block.plan(args, at)
  return { duration = tonumber(args[at]), width = 1 }, at + 1
end

function block.price() end

function block.load(value)
  local ends = value and string.find(value, '^%d+$') and tonumber(value) or 0
  if value and (ends == 0 or ends >= FIRST_INEXACT) then
    return nil
  end
  return { ends = ends, changed = false, algorithm = block }
end

function block.judge(state)
  return state.ends <= now
end

function block.charge() end

function block.fits(state)
  return state.ends <= now and FIRST_INEXACT or 0
end

function block.penalize(state, plan)
  state.ends, state.changed = now + plan.duration, true
end

function block.refund() end

function block.receipt()
  return '-' -- nothing was charged, so nothing can be given back
end

function block.answer(state, _, passes, out, at)
  out[at] = passes and 0 or -1 - (state.ends - now)
end

function block.encode(state)
  return string.format('%d', state.ends), state.ends
end
