import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit, RedisPort } from 'distributed-rate-limiter';
import { pacedFetch, parseRateLimit } from 'distributed-rate-limiter/fetch';
import { createGuard, identifyByAddress } from 'distributed-rate-limiter/http';
import { limited } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { Random } from '../../kit/random.mjs';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { Finding, ownError } from './area.ts';
import type { Area } from './area.ts';
import { anyObject, anyValue, define, nearlyClient } from './values.ts';

type Options = Record<string, unknown>;

const ALGORITHMS = [
  'token_bucket',
  'sliding_window',
  'sliding_window_log',
  'fixed_window',
  'concurrency',
];
const LIMIT_NAMES = [
  'rate',
  'period',
  'burst',
  'timeZone',
  'anchor',
  'weekStart',
  'max',
  'ttl',
  'name',
  'shadow',
  'maxDebt',
  'windowMs',
  'limit',
  'capacity',
];
const NUMBERS: readonly (readonly [string, (random: Random) => unknown])[] = [
  ['rate', (random) => random.magnitude(1, 2_000_000_000)],
  [
    'period',
    (random) =>
      random.pick(['1ms', '1s', '1m', '1h', '366d', '367d', 60, 0.5, 'day', 'week', 'month']),
  ],
  ['burst', (random) => random.magnitude(1, 1_000_000_000)],
  ['timeZone', (random) => random.pick(['UTC', 'Europe/Berlin', 'Mars/Base', ''])],
  ['anchor', (random) => random.pick(['2026-01-15', '2024-02-29', '2026-02-30', '2026-01', ''])],
  ['weekStart', (random) => random.pick(['sunday', 'monday', 'Sunday', 0])],
  ['max', (random) => random.int(0, 10)],
  ['ttl', (random) => random.pick(['1ms', '30s', '25h', 5])],
  ['name', (random) => random.pick(['a', 'default', 'a b', 'x'.repeat(65)])],
  ['shadow', (random) => random.chance(50)],
  ['maxDebt', (random) => random.int(0, 9)],
];

/** Some valid numbers, some invalid ones. */
function anyNumbers(random: Random): Options {
  const options = random.chance(60) ? {} : anyObject(random, LIMIT_NAMES);
  const wanted = random.chance(60) ? ['rate', 'period'] : ['max', 'ttl'];
  for (const [name, make] of NUMBERS) {
    if (wanted.includes(name) ? random.chance(90) : random.chance(8)) {
      define(options, name, random.chance(85) ? make(random) : anyValue(random), random);
    }
  }
  return options;
}

const FACTORIES: readonly ((options: never) => Limit)[] = [
  tokenBucket,
  slidingWindow,
  slidingWindowLog,
  fixedWindow,
  concurrency,
];

/** Checks a limit that was accepted: it admits a whole number of units, at least one. */
function checkLimit(limit: Limit, input: unknown): void {
  const { capacity, windowMs } = limit;
  if (!(Number.isSafeInteger(capacity) && capacity >= 1 && capacity <= 1_000_000_000)) {
    throw new Finding(`a limit of ${capacity} was made`, input);
  }
  if (windowMs !== undefined && !(windowMs > 0 && Number.isFinite(windowMs))) {
    throw new Finding(`a limit over ${windowMs} ms was made`, input);
  }
}

function anyLimits(random: Random): unknown {
  if (random.chance(20)) return anyValue(random);
  return Array.from({ length: random.int(0, 4) }, (_, i) =>
    random.chance(85) ? tokenBucket({ name: `l${i}`, rate: 3, period: '1h' }) : anyValue(random, 1),
  );
}

const LIMITER_NAMES = [
  'redis',
  'store',
  'cluster',
  'rate',
  'period',
  'burst',
  'limits',
  'algorithm',
  'namespace',
  'blocks',
  'failStrategy',
  'timeoutMs',
  'maxInFlight',
  'sharding',
  'hashSecret',
  'onAllow',
  'onError',
  'windowMs',
  'keyPrefix',
];

function anyLimiterOptions(random: Random, redis: FakeRedis): Options {
  const options = random.chance(50) ? {} : anyObject(random, LIMITER_NAMES, 2);
  const places = [
    () => define(options, 'store', new MemoryStore({ clock: new ManualClock() }), random),
    () => define(options, 'redis', redis, random),
    () => define(options, 'redis', nearlyClient(random), random),
    () =>
      define(
        options,
        'redis',
        random.pick([
          'redis://localhost',
          'rediss://u:p@h:1/2',
          'unix:///x',
          'http://h',
          'redis:',
          ':',
        ]) + random.pick(['', '?db=1', '/9', '#x', ':99999', '\0', '%']),
        random,
      ),
  ];
  random.pick(places)();
  if (random.chance(75)) {
    Object.defineProperties(options, Object.getOwnPropertyDescriptors(anyNumbers(random)));
    if (random.chance(40)) define(options, 'algorithm', random.pick(ALGORITHMS), random);
  } else {
    define(options, 'limits', anyLimits(random), random);
  }
  return options;
}

const GUARD_NAMES = [
  'identify',
  'cost',
  'limits',
  'skip',
  'onRefused',
  'headers',
  'count',
  'unidentified',
  'partitionSecret',
  'trustedProxies',
  'forwardedHeader',
  'ipv6Prefix',
];
const PACED_NAMES = [
  'fetch',
  'maxWaitMs',
  'maxRetries',
  'retryStatuses',
  'key',
  'jitterPercent',
  'clock',
];
const LIMITED_NAMES = ['limiter', 'identify', 'cost', 'limits', 'wait', 'heartbeat'];

/** Each constructs something from any options, or throws. */
const MAKERS: readonly ((random: Random, around: Around) => readonly [unknown, () => unknown])[] = [
  (random) => {
    const options = random.chance(90) ? anyNumbers(random) : anyValue(random);
    const make = random.pick(FACTORIES);
    return [[make.name, options], () => checkLimit(make(options as never), options)];
  },
  (random, { redis }) => {
    const options = random.chance(95) ? anyLimiterOptions(random, redis) : anyValue(random);
    return [options, () => void new RateLimiter(options as never).close()];
  },
  (random, { limiter }) => {
    const options = random.chance(90) ? anyObject(random, GUARD_NAMES, 2) : anyValue(random);
    return [options, () => createGuard(limiter, options as never)];
  },
  (random) => {
    const options = random.chance(90)
      ? anyObject(random, GUARD_NAMES.slice(-3), 2)
      : anyValue(random);
    return [options, () => identifyByAddress(options as never)];
  },
  (random) => {
    const options = random.chance(90) ? anyObject(random, PACED_NAMES, 2) : anyValue(random);
    return [options, () => pacedFetch(options as never)];
  },
  (random) => {
    const options = random.chance(90) ? anyObject(random, ['now'], 2) : anyValue(random);
    return [options, () => parseRateLimit({}, options as never)];
  },
  (random) => {
    const options = random.chance(90) ? anyObject(random, ['clock', 'maxKeys']) : anyValue(random);
    return [options, () => new MemoryStore(options as never)];
  },
  (random, { limiter, redis }) => {
    const options = random.chance(90) ? anyObject(random, LIMITED_NAMES, 2) : anyValue(random);
    const fn = random.chance(90) ? () => 1 : anyValue(random);
    if (typeof options === 'object' && options !== null && random.chance(80)) {
      const inner = random.chance(50) ? limiter : anyLimiterOptions(random, redis);
      if (isOpen(options)) define(options as Options, 'limiter', inner, random);
    }
    return [
      [fn, options],
      () => {
        const made = limited(fn as () => number, options as never).limiter;
        if (made !== limiter) void made.close();
      },
    ];
  },
];

/** Each call with any arguments settles, or rejects with an error of the library. */
const CALLS: readonly ((
  random: Random,
  limiter: RateLimiter,
) => readonly [unknown, () => Promise<unknown>])[] = [
  (random, limiter) => {
    const verb = random.pick(['allow', 'peek', 'reset'] as const);
    const options = random.chance(90) ? anyObject(random, ['cost', 'limits']) : anyValue(random);
    return [[verb, options], () => limiter[verb]('user', options as never)];
  },
  (random, limiter) => {
    const verb = random.pick(['allowUpTo', 'penalize', 'credit'] as const);
    const [units, options] = [anyValue(random), anyObject(random, ['limits'])];
    return [[verb, units, options], () => limiter[verb]('user', units as never, options)];
  },
  (random, limiter) => {
    const options = random.chance(90)
      ? anyObject(random, ['cost', 'limits', 'ttl'])
      : anyValue(random);
    return [['reserve', options], () => limiter.reserve('user', options as never)];
  },
  (random, limiter) => {
    const options = random.chance(90) ? anyObject(random, ['cost', 'limits']) : anyValue(random);
    return [['acquire', options], () => limiter.acquire('user', options as never)];
  },
  (random, limiter) => {
    const duration = anyValue(random);
    return [['block', duration], () => limiter.block('user', duration as never)];
  },
  (random, limiter) => {
    const decision = anyValue(random);
    return [['refund', decision], () => limiter.refund(decision as never)];
  },
  (random, limiter) => {
    const names = ['cost', 'limits', 'signal', 'maxQueue'];
    const options = random.chance(90) ? anyObject(random, names) : anyValue(random);
    // A call that would wait longer is refused at once.
    const bounded =
      typeof options === 'object' && options !== null && isOpen(options)
        ? Object.defineProperties(Object.create(null), {
            ...safeDescriptors(options),
            timeoutMs: { value: 0, enumerable: true },
          })
        : options;
    return [['wait', bounded], () => limiter.wait('user', (bounded ?? { timeoutMs: 0 }) as never)];
  },
];

/** Whether it accepts one more property; a proxy that throws counts as no. */
function isOpen(object: object): boolean {
  try {
    return Object.isExtensible(object);
  } catch {
    return false;
  }
}

function safeDescriptors(object: object): PropertyDescriptorMap {
  try {
    return Object.getOwnPropertyDescriptors(object);
  } catch {
    return {};
  }
}

interface Around {
  readonly limiter: RateLimiter;
  readonly redis: FakeRedis;
}

/** Any value for any option, for every function that takes options. */
export const options: Area = {
  name: 'options',
  percent: 20,

  open() {
    const redis = new FakeRedis();
    const silent: RedisPort['send'] = () => {
      throw new Finding('something was sent while it was made', undefined);
    };
    redis.send = silent;
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock() }),
      rate: 1_000_000_000,
      period: '1ms',
      blocks: true,
      namespace: 'fuzz',
    });
    return {
      async run(random) {
        if (random.chance(60)) {
          const [input, make] = random.pick(MAKERS)(random, { limiter, redis });
          try {
            make();
          } catch (error) {
            if (error instanceof Finding) throw error;
            ownError(error, input);
          }
          return;
        }
        const [input, call] = random.pick(CALLS)(random, limiter);
        try {
          await call();
        } catch (error) {
          // The only error passed on unchanged: the reason of the caller's own signal.
          if ((error as Error | undefined)?.name !== 'AbortError') ownError(error, input);
        }
        await limiter.unblock('user');
      },
      close: () => limiter.close(),
    };
  },
};
