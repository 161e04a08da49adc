--[[
  Reads what a script call is about, except its keys: the verbs, their units, and the limits' numbers. Twin of
  call-shape.ts.

  In:   ARGV  number of shapes; per shape a verb, units, number of details, number of limits; per limit 1 if it is a
              shadow, else 0, its algorithm and that algorithm's arguments; then the runs, which decide.lua reads.
        Or, where fast-path.lua stopped early, its one argument
  Uses: make_token_bucket, make_sliding_window, make_sliding_window_log, make_fixed_window, make_concurrency,
        make_block, key
  Out:  shapes         per shape what its verb needs, and a plan per limit with its `algorithm`, `shadow` and `width`
        args, args_at  the arguments, and the index of the first that belongs to no shape
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

-- How many integers a verb answers before its limits, and each limit answers if not its algorithm's usual number.
local heads = { up_to = 1, renew = 1, release = 1, settle = 2 }
local widths = { reset = 1, renew = 0, release = 0, settle = 0 }
local recorded = { reserve = true, settle = true }

local args, args_at, shapes = ARGV, 2, {}
if #ARGV == 1 then
  -- fast-path.lua stopped early, which decides no cost of 0: the same run, from the key at which it stopped.
  args = { '1', 'allow', '1', '0', '1', '0', 'token_bucket' }
  for number in string.gmatch(ARGV[1], '%d+') do
    args[#args + 1] = number
  end
  local times = table.remove(args)
  for _, number in ipairs({ '1', string.format('%d', #KEYS - key + 1), times }) do
    args[#args + 1] = number
  end
end
for s = 1, tonumber(args[1]) do
  local verb, limits = args[args_at], tonumber(args[args_at + 3])
  local shape = {
    verb = verb,
    units = tonumber(args[args_at + 1]),
    details = tonumber(args[args_at + 2]),
    head = heads[verb] or 0,
    recorded = recorded[verb],
    keys = recorded[verb] and limits + 1 or limits,
  }
  args_at = args_at + 4
  shape.width = shape.head
  for l = 1, limits do
    local name, shadow = args[args_at + 1], args[args_at] == '1'
    local algorithm = algorithms[name] or makers[name]()
    algorithms[name] = algorithm
    shape[l], args_at = algorithm.plan(args, args_at + 2)
    shape[l].algorithm, shape[l].shadow = algorithm, shadow
    shape[l].width = widths[verb] or shape[l].width
    shape.width = shape.width + shape[l].width
  end
  shapes[s] = shape
end
