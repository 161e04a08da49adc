--[[
  What a script call is about, but for its keys: the verbs, their units, and the numbers of the limits. Twin of
  call-shape.ts.

  In:   ARGV  number of shapes; per shape a verb, units, number of details, number of limits, then per limit
              whether it is a shadow (1 or 0), its algorithm and that algorithm's arguments; then the runs, which
              are decide.lua's
        Or what fast-path.lua left over.
  Out:  shapes    per shape what its verb needs, and a plan per limit with its `algorithm`, `shadow` and `width`
        args, at  the arguments, and the first that is not of a shape
]]
local makers = {
  token_bucket = make_token_bucket,
  sliding_window = make_sliding_window,
  sliding_window_log = make_sliding_window_log,
  fixed_window = make_fixed_window,
  concurrency = make_concurrency,
  block = make_block,
}
local algorithms = {}

-- What a verb answers before its limits, and what each of them answers to it where that is not its algorithm's width.
local heads = { up_to = 1, renew = 1, release = 1, settle = 2 }
local widths = { reset = 1, renew = 0, release = 0, settle = 0 }
local recorded = { reserve = true, settle = true }

local args, at, shapes = ARGV, 2, {}
if #ARGV == 1 then
  -- What fast-path.lua left over: the same run, from the key at which it stopped.
  args = { '1', 'allow', '0', '0', '1', '0', 'token_bucket' }
  for number in string.gmatch(ARGV[1], '%d+') do
    args[#args + 1] = number
  end
  local times = table.remove(args)
  for _, number in ipairs({ '1', string.format('%d', #KEYS - key + 1), times }) do
    args[#args + 1] = number
  end
end
for s = 1, tonumber(args[1]) do
  local verb, limits = args[at], tonumber(args[at + 3])
  local shape = {
    verb = verb,
    units = tonumber(args[at + 1]),
    details = tonumber(args[at + 2]),
    head = heads[verb] or 0,
    recorded = recorded[verb],
    keys = recorded[verb] and limits + 1 or limits,
  }
  at = at + 4
  shape.width = shape.head
  for l = 1, limits do
    local name, shadow = args[at + 1], args[at] == '1'
    local algorithm = algorithms[name] or makers[name]()
    algorithms[name] = algorithm
    shape[l], at = algorithm.plan(args, at + 2)
    shape[l].algorithm, shape[l].shadow = algorithm, shadow
    shape[l].width = widths[verb] or shape[l].width
    shape.width = shape.width + shape[l].width
  end
  shapes[s] = shape
end
