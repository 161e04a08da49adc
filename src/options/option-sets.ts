import type { AlgorithmName } from '../base/decision.ts';
import { allOf, choice, duration, writeDurations } from './other-names.ts';
import type { Instead, OtherNames } from './other-names.ts';
import type { OptionSet, OptionOwner } from './read-options.ts';

/**
 * Every object of options: its names, other libraries' names for them, and where a misplaced option belongs. All sets
 * are in one file because each refers to the options of the others.
 */

/** Options of every limit. */
const ANY_LIMIT = ['name', 'by', 'shadow', 'maxDebt', 'unit', 'ban'] as const;

/** Options of an unnamed limit, which a limiter accepts directly. */
const RATE = ['rate', 'period'] as const;

const BURST_OTHER_NAMES = allOf('capacity bucketSize maxTokens reservoirIncreaseMaximum', 'burst');
const DEBT_OTHER_NAMES: OtherNames = { debt: 'maxDebt' };
/** Options of windows by the calendar. */
const CALENDAR = ['timeZone', 'anchor', 'weekStart'] as const;

const CALENDAR_OTHER_NAMES: OtherNames = {
  ...allOf('timezone tz', 'timeZone'),
  ...allOf('anchorDate billingAnchor billingCycleAnchor billing_cycle_anchor billingDay', 'anchor'),
  ...allOf('firstDayOfWeek startOfWeek weekStartsOn', 'weekStart'),
};

const RATE_OTHER_NAMES: OtherNames = {
  ...allOf(
    'limit max maxRequests points requests intervalCap refillRate tokensPerInterval reservoirRefreshAmount reservoirIncreaseAmount',
    'rate',
  ),
  ...BURST_OTHER_NAMES,
  ...DEBT_OTHER_NAMES,
  ...CALENDAR_OTHER_NAMES,
  ...allOf(
    'windowMs timeWindow interval reservoirRefreshInterval reservoirIncreaseInterval',
    duration('period', 'ms'),
  ),
  ...allOf('refillInterval window duration expire ttl', duration('period')),
  tokens: {
    instead: () =>
      'Did you mean `rate`, the units per `period`, or `burst`, the most units at once (token bucket)?',
  },
  minTime: {
    instead: (value) =>
      `Write \`rate: 1, period: ${writeDurations(value, 'ms')[0]?.code ?? "'333ms'"}, burst: 1\`.`,
  },
  ...allOf('maxConcurrency maxConcurrent', {
    instead: () => 'Write `limits: [concurrency({ max, ttl })]`, and call `acquire`.',
  }),
};

const UNITLESS: OtherNames = {
  unit: {
    instead: () =>
      'A lease takes one place, whatever the cost. Give a unit to the limits beside it.',
  },
};

const countsPlaces = (means: string): Instead => ({
  instead: () =>
    `It counts places and no rate: ${means}. For a rate use \`tokenBucket({ rate, period })\`.`,
});

const PLACES_OTHER_NAMES: OtherNames = {
  ...allOf('concurrency limit maxConcurrency maxConcurrent', 'max'),
  ...allOf('duration expiration expires lease', duration('ttl')),
  timeout: duration('ttl', 'ms'),
  rate: countsPlaces('`max` is how many are held at once'),
  period: countsPlaces('`ttl` is how long a place is held at most'),
  ...UNITLESS,
};

/** Each algorithm's own options, and other libraries' names for them. */
const ALGORITHMS: Readonly<
  Record<
    AlgorithmName,
    { readonly factory: string; readonly names: readonly string[]; readonly otherNames: OtherNames }
  >
> = {
  token_bucket: { factory: 'tokenBucket', names: [...RATE, 'burst'], otherNames: RATE_OTHER_NAMES },
  sliding_window: { factory: 'slidingWindow', names: RATE, otherNames: RATE_OTHER_NAMES },
  sliding_window_log: { factory: 'slidingWindowLog', names: RATE, otherNames: RATE_OTHER_NAMES },
  fixed_window: {
    factory: 'fixedWindow',
    names: [...RATE, ...CALENDAR],
    otherNames: RATE_OTHER_NAMES,
  },
  concurrency: { factory: 'concurrency', names: ['max', 'ttl'], otherNames: PLACES_OTHER_NAMES },
};

const MEMORY_STORE_NAMES = ['clock', 'maxKeys'] as const;

/** A limiter's options, without those of its limits. */
const LIMITER_NAMES = [
  'redis',
  'cluster',
  'store',
  'algorithm',
  'limits',
  'namespace',
  'tagBy',
  'blocks',
  'observes',
  'failStrategy',
  'timeoutMs',
  'maxInFlight',
  'sharding',
  'hashSecret',
  'denyCache',
  'prepay',
  'onAllow',
  'onBlock',
  'onError',
] as const;

/** The option `cluster` of a limiter. */
export const CLUSTER: OptionSet = {
  of: 'cluster',
  names: ['tags', 'enabled'],
  otherNames: allOf('hashTags buckets tagCount count', 'tags'),
};

/** The option `denyCache` of a limiter. */
export const DENY_CACHE: OptionSet = {
  of: 'denyCache',
  names: ['holdMs', 'maxIdentities'],
  otherNames: {
    ...allOf('ttl ttlMs maxAge', 'holdMs'),
    ...allOf('max maxSize maxEntries size', 'maxIdentities'),
  },
};

const onFailure = (refusing: string) =>
  choice('failStrategy', "'open', 'closed' or 'throw'", [
    [true, "'open'"],
    [false, refusing],
  ]);

const blocksFor = (time: string): string =>
  `Write \`blocks: true\` in the limiter's options. Give a limit \`ban: { after: 5, within: '10m', for: ${time} }\` to block after refusals, or call \`limiter.block(identity, ${time})\`.`;

const BLOCKS = {
  instead: (value: unknown): string => blocksFor(writeDurations(value)[0]?.code ?? "'15m'"),
};

const LIMITER_OTHER_NAMES: OtherNames = {
  ...allOf('client connection redisClient redisUrl storeClient url', 'redis'),
  ...allOf('keyPrefix prefix', 'namespace'),
  timeout: 'timeoutMs',
  ...allOf('ephemeralCache inMemoryBlock inMemoryBlockOnConsumed blockCache', 'denyCache'),
  ...allOf('prefetch prepaid localTokens', 'prepay'),
  ...allOf('proxy shard sharded shards twemproxy', 'sharding'),
  ...allOf('failOpen passOnStoreError', onFailure("'closed'")),
  skipOnError: onFailure("'throw'"),
  ...allOf('banDuration blockDuration', BLOCKS),
  limiter: {
    instead: () =>
      'Pass a limiter itself in place of these options; write its limits as `limits: [slidingWindow({ rate, period })]`.',
  },
};

/** Options of `prepay`. */
export const PREPAY: OptionSet = {
  of: 'prepay',
  names: ['holdMs', 'aheadMs', 'maxIdentities'],
  otherNames: {
    ...allOf('ttl ttlMs maxAge', 'holdMs'),
    ...allOf('ahead lookahead', 'aheadMs'),
    ...allOf('max maxSize maxEntries size', 'maxIdentities'),
  },
};

/** Options that only the guard has. */
export const GUARD_NAMES = [
  'identify',
  'skip',
  'onRefused',
  'negotiate',
  'headers',
  'count',
  'wait',
  'waitUntil',
  'maxHold',
  'unidentified',
  'partitionSecret',
] as const;

/** Options of the guard that say where to find a request's address. */
export const ADDRESS_OPTIONS = ['trustedProxies', 'forwardedHeader', 'ipv6Prefix'] as const;

export const ADDRESS_OTHER_NAMES: OtherNames = {
  ...allOf('trustProxy trustedProxy proxies proxy hops maxIpsCount', 'trustedProxies'),
  'trust proxy': 'trustedProxies',
  ...allOf('header proxyIpHeader', 'forwardedHeader'),
  ...allOf('ipv6Subnet subnet', 'ipv6Prefix'),
};

const PROFILES = "the name of a profile such as 'draft-11' or 'legacy', or a function";

const counting = (whenTrue: string) =>
  choice('count', "'all', 'failures' or 'successes'", [
    [true, whenTrue],
    [false, "'all'"],
  ]);

export const GUARD_OTHER_NAMES: OtherNames = {
  ...ADDRESS_OTHER_NAMES,
  ...allOf('allowList skipIf', 'skip'),
  ...allOf('errorResponseBuilder handler message onExceeded onLimited', 'onRefused'),
  ...allOf('getTracker identifier key keyGenerator', 'identify'),
  legacyHeaders: choice('headers', PROFILES, [[true, "'legacy'"]]),
  standardHeaders: choice('headers', PROFILES, [
    [true, "'draft-6'"],
    ['draft-6', "'draft-6'"],
    ['draft-7', "'draft-7'"],
    ['draft-8', "'draft-11'"],
    [false, "'none'"],
  ]),
  skipFailedRequests: counting("'successes'"),
  skipSuccessfulRequests: counting("'failures'"),
  requestWasSuccessful: {
    instead: () =>
      'Did you mean `count`? Write `count: ({ status }) => status === 401`, a function that says which responses count.',
  },
  limiter: { instead: () => 'Pass the limiter first: `rateLimit(limiter, options)`.' },
  throttlers: {
    instead: () => 'Write `limiter: { redis, limits: [tokenBucket({ rate, period })] }`.',
  },
};

export const COST_OTHER_NAMES: OtherNames = allOf('weight tokens points', 'cost');

/** Other libraries' names for `limits` of a call or request, whose limiter has a rate. */
export const LIMIT_OTHER_NAMES: OtherNames = {
  limit: {
    instead: () =>
      'Did you mean `limits`? Write `limits: [tokenBucket({ rate, period })]`, or give the limiter a `rate`.',
  },
};

const OF_A_CALL: OptionOwner = {
  of: 'a call',
  names: ['cost'],
  otherNames: { weight: 'cost' },
  code: (option) => `limiter.allow(identity, { ${option} })`,
};

export const OF_ACQUIRE: OptionOwner = {
  of: '`acquire`',
  names: ['heartbeat'],
  code: (option) => `limiter.acquire(identity, { ${option} })`,
};

const OF_WAIT: OptionOwner = {
  of: '`wait`',
  names: ['signal', 'maxQueue'],
  code: (option) => `limiter.wait(identity, { ${option} })`,
};

const OF_RESERVE: OptionOwner = {
  of: '`reserve`',
  names: ['ttl'],
  code: (option) => `limiter.reserve(identity, { ${option} })`,
};

const OF_A_MIDDLEWARE: OptionOwner = {
  of: 'a middleware',
  names: [...GUARD_NAMES, ...ADDRESS_OPTIONS],
  otherNames: GUARD_OTHER_NAMES,
  code: (option) => `rateLimit(limiter, { ${option} })`,
};

export const OF_A_LIMITER: OptionOwner = {
  of: 'a limiter',
  names: [...LIMITER_NAMES, ...RATE, 'burst', ...CALENDAR],
  otherNames: { ...RATE_OTHER_NAMES, ...LIMITER_OTHER_NAMES },
  code: (option) => `new RateLimiter({ ${option} })`,
};

export const OF_A_LIMIT: OptionOwner = {
  of: 'a limit',
  names: ANY_LIMIT,
  otherNames: DEBT_OTHER_NAMES,
  code: (option) => `limits: [tokenBucket({ rate, period, ${option} })]`,
};

const OF_LIMITED: OptionOwner = {
  of: '`limited`',
  names: ['wait'],
  code: (option) => `limited(fn, { ${option} })`,
};

const OF_MEMORY_STORE: OptionOwner = {
  of: 'MemoryStore',
  names: MEMORY_STORE_NAMES,
  code: (option) => `store: new MemoryStore({ ${option} })`,
};

const OF_A_TOKEN_BUCKET: OptionOwner = {
  of: 'a token bucket',
  names: ['burst'],
  otherNames: BURST_OTHER_NAMES,
  code: (option) => `tokenBucket({ rate, period, ${option} })`,
};

const OF_A_FIXED_WINDOW: OptionOwner = {
  of: 'a fixed window',
  names: CALENDAR,
  otherNames: CALENDAR_OTHER_NAMES,
  code: (option) => `fixedWindow({ rate, period: '${periodOf(option)}', ${option} })`,
};

/** A period with which the option of a calendar may be given. */
function periodOf(option: string): string {
  return option.startsWith('weekStart') ? 'week' : option.startsWith('anchor') ? 'month' : 'day';
}

/** Every option that belongs to a limit, of any algorithm. */
export const LIMIT_NUMBERS: readonly string[] = [
  ...new Set(Object.values(ALGORITHMS).flatMap(({ names }) => names)),
];

/** The options of a limiter with one limit of this algorithm; undefined if it has `limits`. */
export function limiterOptions(algorithm: AlgorithmName | undefined): OptionSet {
  const { names, otherNames, factory } = ALGORITHMS[algorithm ?? 'token_bucket'];
  const common = {
    of: 'RateLimiter',
    otherNames: { ...otherNames, ...LIMITER_OTHER_NAMES },
    owners: AROUND_A_LIMITER,
  };
  return algorithm === undefined
    ? { ...common, names: [...LIMITER_NAMES, ...LIMIT_NUMBERS] }
    : {
        ...common,
        names: [...LIMITER_NAMES, ...names],
        excluded: { of: factory, names: LIMIT_NUMBERS.filter((name) => !names.includes(name)) },
      };
}

const AROUND_A_LIMITER: readonly OptionOwner[] = [
  OF_A_MIDDLEWARE,
  OF_A_CALL,
  OF_ACQUIRE,
  OF_WAIT,
  OF_LIMITED,
  OF_A_LIMIT,
  OF_MEMORY_STORE,
  OF_A_TOKEN_BUCKET,
  OF_A_FIXED_WINDOW,
];

/** This algorithm's own limit options. */
export function numberOptionsOf(algorithm: AlgorithmName): readonly string[] {
  return ALGORITHMS[algorithm].names;
}

export const TOKEN_BUCKET: OptionSet = limitOptions('token_bucket', ANY_LIMIT);
export const SLIDING_WINDOW: OptionSet = limitOptions('sliding_window', ANY_LIMIT);
export const SLIDING_WINDOW_LOG: OptionSet = limitOptions('sliding_window_log', ANY_LIMIT);
export const FIXED_WINDOW: OptionSet = limitOptions('fixed_window', ANY_LIMIT);
export const CONCURRENCY: OptionSet = limitOptions('concurrency', ['name', 'by', 'shadow', 'ban']);

function limitOptions(algorithm: AlgorithmName, common: readonly string[]): OptionSet {
  const { names, otherNames, factory } = ALGORITHMS[algorithm];
  return {
    of: factory,
    names: [...common, ...names],
    otherNames,
    owners: [
      OF_A_CALL,
      OF_ACQUIRE,
      OF_A_MIDDLEWARE,
      OF_A_TOKEN_BUCKET,
      OF_A_FIXED_WINDOW,
      OF_A_LIMITER,
    ],
  };
}

export const BAN: OptionSet = {
  of: '`ban`',
  names: ['after', 'within', 'for', 'growth', 'max'],
  otherNames: {
    ...allOf('attempts maxAttempts maxRetry maxretry refusals', 'after'),
    ...allOf('findTime findtime period timeWindow window', duration('within')),
    ...allOf('banDuration banTime bantime blockDuration duration time', duration('for')),
    ...allOf('factor multiplier', 'growth'),
    ...allOf('cap maxDuration maxTime', duration('max')),
  },
};

const OF_A_LIMIT_OF_A_CALL: OptionOwner = {
  of: 'a limit',
  names: [...RATE, 'burst', ...CALENDAR, 'max', ...ANY_LIMIT],
  otherNames: RATE_OTHER_NAMES,
  code: (option) => `limits: [tokenBucket({ ${option} })]`,
};

const AROUND_A_CALL: readonly OptionOwner[] = [
  OF_ACQUIRE,
  OF_WAIT,
  OF_RESERVE,
  OF_A_LIMIT_OF_A_CALL,
  OF_A_LIMITER,
  OF_A_MIDDLEWARE,
];

export const CALL: OptionSet = {
  of: 'this call',
  names: ['cost', 'limits'],
  otherNames: { ...COST_OTHER_NAMES, ...LIMIT_OTHER_NAMES },
  owners: AROUND_A_CALL,
};

export const ACQUIRE: OptionSet = { ...CALL, names: ['cost', 'limits', 'heartbeat'] };

const WAIT_OTHER_NAMES: OtherNames = {
  timeout: 'timeoutMs',
  ...allOf('maxQueueSize queueSize highWater', 'maxQueue'),
};

export const WAIT: OptionSet = {
  ...CALL,
  names: ['cost', 'limits', 'timeoutMs', 'signal', 'maxQueue'],
  otherNames: { ...CALL.otherNames, ...WAIT_OTHER_NAMES },
};

export const RESERVE: OptionSet = {
  of: 'reserve',
  names: ['cost', 'limits', 'ttl'],
  otherNames: {
    ...CALL.otherNames,
    estimate: 'cost',
    ...allOf('duration expiresIn timeout', duration('ttl')),
  },
  owners: AROUND_A_CALL,
};

export const MEMORY_STORE: OptionSet = {
  of: 'MemoryStore',
  names: MEMORY_STORE_NAMES,
  otherNames: allOf('max maxSize', 'maxKeys'),
  owners: [{ ...OF_A_LIMITER, code: (option) => `new RateLimiter({ store, ${option} })` }],
};

/** The options of `limited` or `@RateLimit`; `of` says which. */
export function limitedOptions(of: string): OptionSet {
  return {
    of,
    names: ['limiter', 'identify', 'cost', 'limits', 'wait', 'heartbeat'],
    otherNames: {
      ...allOf('id identity key keyGenerator', 'identify'),
      ...COST_OTHER_NAMES,
      ...LIMIT_OTHER_NAMES,
      ...allOf('plan plans', 'limits'),
      rateLimiter: 'limiter',
    },
    owners: [
      { ...OF_WAIT, of: '`wait`', code: (option) => `wait: { ${option} }` },
      { ...OF_A_LIMITER, code: (option) => `limiter: { ${option} }` },
      OF_A_LIMIT,
      OF_A_MIDDLEWARE,
    ],
  };
}

/** The option `wait` of `limited`. */
export const WAIT_OF_LIMITED: OptionSet = {
  of: 'wait',
  names: ['timeoutMs', 'signal', 'maxQueue'],
  otherNames: WAIT_OTHER_NAMES,
  owners: [
    {
      of: '`limited`',
      names: ['limiter', 'identify', 'cost', 'limits', 'heartbeat'],
      code: (option) => `limited(fn, { ${option} })`,
    },
  ],
};
