--[[
  Reads what a script call is about, except its keys: the verbs, their units, and the limits' numbers. Twin of
  call-shape.ts.

  In:   ARGV  number of shapes; per shape a verb, its units (one number, or where they
              differ one per limit, '-' for a limit that the call does not ask), number of details, number of keys, number of limits; for `reserve` and `settle` what the record then says of the limits; per limit
              1 if it is a shadow, else 0, the index of its key among the entry's, its id in the home, its algorithm and
              that algorithm's arguments; then the runs, which decide.lua reads.
        Or, where lone-path.lua or home-path.lua stopped early, their arguments
  Uses: make_token_bucket, make_sliding_window, make_sliding_window_log, make_fixed_window, make_concurrency,
        make_block, make_ban, make_provider_quota, make_reservation_record, make_slice_holders, key
  Out:  shapes         per shape what its verb needs, and a plan per limit with its `algorithm`, `shadow`, `width`, the
                       units that it `asks` (false for none), the index `key_at` of its key, its `id`, and the `ids`
                       of all limits whose states share that key
        args, args_at  the arguments, and the index of the first that belongs to no shape
]]
local makers = {
  token_bucket = make_token_bucket,
  sliding_window = make_sliding_window,
  sliding_window_log = make_sliding_window_log,
  fixed_window = make_fixed_window,
  concurrency = make_concurrency,
  block = make_block,
  ban = make_ban,
  provider_quota = make_provider_quota,
}
local algorithms = {}

-- How many integers a verb answers before its limits, and each limit answers if not its algorithm's usual number.
local heads = { up_to = 1, renew = 1, release = 1, add = 1, recall = 1, settle = 2, grant = 2 }
local widths = { reset = 1, renew = 0, release = 0, settle = 0 }
local recorded = {
  reserve = make_reservation_record,
  add = make_reservation_record,
  recall = make_reservation_record,
  settle = make_reservation_record,
  grant = make_slice_holders,
}

local args, args_at, shapes = ARGV, 2, {}
-- A path, which decides no cost of 0, stopped early: the same run, from the key at which it stopped.
local left_over = #ARGV == 1 and { 'allow', '1', '0', '1', '1', '0', '1', '=t', 'token_bucket' } or string.find(ARGV[1], '^home') and {}
if left_over then
  local times = ARGV[2]
  args = left_over
  if #ARGV == 1 then
    for number in string.gmatch(ARGV[1], '%d+') do
      args[#args + 1] = number
    end
    times = table.remove(args)
  else
    for a = 3, #ARGV do
      args[#args + 1] = ARGV[a]
    end
  end
  table.insert(args, 1, '1')
  for _, number in ipairs({ '1', string.format('%d', (#KEYS - key + 1) / tonumber(args[5])), times }) do
    args[#args + 1] = number
  end
end
for s = 1, tonumber(args[1]) do
  local verb, keys, limits = args[args_at], tonumber(args[args_at + 3]), tonumber(args[args_at + 4])
  local units = tonumber(args[args_at + 1])
  local asks = not units and string.gmatch(args[args_at + 1], '[^,]+')
  local shape = {
    verb = verb,
    units = units,
    details = tonumber(args[args_at + 2]),
    head = (heads[verb] or 0) * (verb == 'settle' and asks and limits or verb == 'grant' and limits + 1 or 1),
    recorded = recorded[verb],
    keys = recorded[verb] and keys + 1 or keys,
  }
  args_at = args_at + 5
  if verb == 'reserve' or verb == 'settle' then
    shape.told, args_at = args[args_at], args_at + 1
  end
  local ids = {} -- by index of a key
  shape.width = shape.head
  for l = 1, limits do
    local shadow, key_at, id, name = args[args_at] == '1', tonumber(args[args_at + 1]), args[args_at + 2], args[args_at + 3]
    local algorithm = algorithms[name] or makers[name]()
    algorithms[name] = algorithm
    local plan
    plan, args_at = algorithm.plan(args, args_at + 4)
    plan.algorithm, plan.shadow, plan.key_at, plan.id = algorithm, shadow, key_at, id ~= '-' and id
    plan.algorithm_name = name
    plan.asks = units
    if asks then
      plan.asks = tonumber(asks()) or false
    end
    plan.width = widths[verb] or plan.width
    shape[l], shape.width = plan, shape.width + plan.width
    if plan.id then
      local shared = ids[key_at] or {}
      shared[#shared + 1] = id
      plan.ids, ids[key_at] = shared, shared
    end
  end
  shapes[s] = shape
end
