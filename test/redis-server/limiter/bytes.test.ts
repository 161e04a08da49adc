import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from '../../../src/index.ts';
import type { Limit, RateLimiterOptions } from '../../../src/index.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { commandsOf, lineOf, Tap } from './traffic.ts';

let redis: RedisServer;
let tap: Tap;
let port: number;
let client: Redis;
beforeAll(async () => {
  redis = await startRedis();
  tap = new Tap(redis);
  port = await tap.listen();
  client = new Redis({ port });
});
beforeEach(() => redis.command('FLUSHALL'));
afterAll(async () => {
  client.disconnect();
  tap.close();
  await redis.close();
});

type Options = Partial<RateLimiterOptions<string, string>>;
/** What a limiter is asked, under a title; each name is an identity of its own. */
type Steps = readonly (readonly [string, (limiter: RateLimiter<string, string>) => unknown])[];

const hour = { period: '1h' } as const;
const BUCKET: Options = {
  limits: [tokenBucket({ rate: 100, ...hour, burst: 50, maxDebt: 20 })],
  blocks: true,
};
const PLAN = [tokenBucket({ rate: 200, ...hour })];
const LIMITS: readonly Limit[] = [
  tokenBucket({ name: 'bucket', rate: 100, ...hour }),
  fixedWindow({ name: 'window', rate: 1_000, period: '366d' }),
  slidingWindow({ name: 'sliding', rate: 1_000, period: '366d' }),
];

/** Calls that pass, of identities that are not busy. */
const PASSING: Steps = [
  ['allow', (limiter) => limiter.allow('allow')],
  ['allow, a cost of 3', (limiter) => limiter.allow('cost', { cost: 3 })],
  ['allow, a cost of 0', (limiter) => limiter.allow('nothing', { cost: 0 })],
  ['allow with a plan', (limiter) => limiter.allow('plan', { limits: PLAN })],
  ['two equal calls', (limiter) => Promise.all([limiter.allow('twice'), limiter.allow('twice')])],
  [
    'calls of one turn',
    (limiter) =>
      Promise.all([limiter.allow('a'), limiter.allow('b', { cost: 2 }), limiter.peek('a')]),
  ],
  ['peek', (limiter) => limiter.peek('peek')],
  ['allowUpTo', (limiter) => limiter.allowUpTo('up-to', 5)],
  ['wait', (limiter) => limiter.wait('wait')],
  ['refund', async (limiter) => limiter.refund(await limiter.allow('refund', { cost: 2 }))],
  ['penalize', (limiter) => limiter.penalize('penalize', 2)],
  ['credit', (limiter) => limiter.credit('credit', 2)],
  ['reset', (limiter) => limiter.reset('reset')],
  [
    'reserve, add, settle',
    async (limiter) => {
      const reservation = await limiter.reserve('settle', { cost: 5, ttl: '2m' });
      await reservation.add(2);
      await reservation.settle(3);
    },
  ],
  [
    'reserve, resume, cancel',
    async (limiter) => {
      const { token } = await limiter.reserve('cancel', { cost: 5, ttl: '2m' });
      await limiter.resume(token).cancel();
    },
  ],
];

/** The same for limiters that set blocks. */
const BLOCKING: Steps = [
  ['block', (limiter) => limiter.block('block', '1h')],
  ['unblock', (limiter) => limiter.unblock('unblock')],
];

/** Calls that are refused, one after the other. */
const REFUSED: Steps = [
  ['allow all', (limiter) => limiter.allow('refused', { cost: 50 })],
  ['refused', (limiter) => limiter.allow('refused')],
  ['refused again', (limiter) => limiter.allow('refused')],
  ['refused a larger cost', (limiter) => limiter.allow('refused', { cost: 2 })],
  ['peek', (limiter) => limiter.peek('refused')],
  ['penalize beyond the limit', (limiter) => limiter.penalize('refused', 10)],
  ['block', (limiter) => limiter.block('refused', '1h')],
  ['blocked', (limiter) => limiter.allow('refused')],
  ['unblock', (limiter) => limiter.unblock('refused')],
  ['reset', (limiter) => limiter.reset('refused')],
  ['a busy identity', (limiter) => many(20, () => limiter.allow('busy'))],
  [
    '20 calls of one turn',
    (limiter) => Promise.all(Array.from({ length: 20 }, () => limiter.allow('many'))),
  ],
];

const LEASES: Steps = [
  [
    'acquire, renew, release',
    async (limiter) => {
      const lease = await limiter.acquire('lease');
      if (lease.allowed) {
        await lease.renew();
        await lease.release();
      }
    },
  ],
];

const PARTS: Steps = [
  ['allow', (limiter) => limiter.allow({ org: 'o', key: 'k' }, { cost: { calls: 1, tokens: 90 } })],
  ['allow, one unit', (limiter) => limiter.allow({ org: 'o', key: 'k' }, { cost: { tokens: 9 } })],
  ['peek', (limiter) => limiter.peek({ org: 'o', key: 'k' })],
  [
    'reserve, settle',
    async (limiter) => {
      const cost = { calls: 1, tokens: 400 };
      const reservation = await limiter.reserve({ org: 'o', key: 'k' }, { cost, ttl: '2m' });
      await reservation.settle({ calls: 1, tokens: 70 });
    },
  ],
];

const OBSERVED: Steps = [
  ['allow', (limiter) => limiter.allow('provider')],
  [
    'observe',
    (limiter) =>
      limiter.observe('provider', {
        'X-RateLimit-Limit': '100',
        'X-RateLimit-Remaining': '7',
        'X-RateLimit-Reset': '30',
      }),
  ],
];

const WINDOWS: Options = { limits: LIMITS };
const LEASED: Options = {
  limits: [
    concurrency({ name: 'places', max: 2, ttl: '1h' }),
    slidingWindowLog({ name: 'log', rate: 10, ...hour }),
  ],
};
const SPLIT: Options = {
  limits: [
    tokenBucket({ name: 'requests', by: ['org', 'key'], unit: 'calls', rate: 60, ...hour }),
    tokenBucket({ name: 'tokens', by: 'org', unit: 'tokens', rate: 9_000, ...hour }),
  ],
};
const BANNING: Options = {
  blocks: true,
  limits: [tokenBucket({ rate: 1, ...hour, ban: { after: 2, within: '1h', for: '1h' } })],
};

/** Everything that is sent under one kind of limits. */
const TRACES: Readonly<Record<string, readonly [Options, Steps]>> = {
  'a token bucket': [BUCKET, [...PASSING, ...BLOCKING, ...REFUSED]],
  'several limits': [WINDOWS, [...PASSING]],
  'leases and logs': [LEASED, LEASES],
  'parts and units': [SPLIT, PARTS],
  'what a provider says': [
    { limits: [tokenBucket({ name: 'requests', rate: 100, ...hour, burst: 100 })], observes: true },
    OBSERVED,
  ],
  'a ban': [BANNING, [['3 calls', (limiter) => many(3, () => limiter.allow('banned'))]]],
};

async function many(times: number, call: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < times; i++) {
    await call();
  }
}

async function limiterOf(
  connection: Redis,
  options: Options,
): Promise<RateLimiter<string, string>> {
  const limiter = new RateLimiter<string, string>({
    redis: connection,
    namespace: 'bytes',
    failStrategy: 'throw',
    timeoutMs: 10_000,
    ...options,
  } as RateLimiterOptions<string, string>);
  await limiter.ready();
  return limiter;
}

/** What a limiter sends for each step, as lines of text. */
async function sent(connection: Redis, options: Options, steps: Steps): Promise<string> {
  const limiter = await limiterOf(connection, options);
  const ids = new Map<string, string>();
  const lines: string[] = [];
  for (const [title, step] of steps) {
    tap.take();
    await step(limiter);
    lines.push(`# ${title}`, ...commandsOf(tap.take()).map((command) => lineOf(command, ids)), '');
  }
  await limiter.close();
  return lines.join('\n');
}

// Recorded with the version before there were these options. Since then only what `observe` tells has changed, which heeds
// the window after the provider's. Whatever else is sent in another way shows as a change of a file.
test.each(Object.entries(TRACES))(
  'a limiter without `denyCache` and `prepay` sends the bytes that were sent before there were any: %s',
  async (title, [options, steps]) => {
    const file = `golden/bytes/${title.replaceAll(' ', '-')}.txt`;
    await expect(await sent(client, options, steps)).toMatchFileSnapshot(file);
  },
);

test.each([
  ['a token bucket', BUCKET, [...PASSING, ...BLOCKING], { denyCache: true, prepay: true }],
  ['several limits', WINDOWS, PASSING, { denyCache: true, prepay: true }],
  ['leases and logs', LEASED, LEASES, { denyCache: true }],
  ['parts and units', SPLIT, PARTS, { denyCache: true }],
] satisfies [string, Options, Steps, Options][])(
  'with them it sends the same while nothing is refused and no identity is busy: %s',
  async (_, options, steps, local) => {
    const without = await sent(client, options, steps);
    await redis.command('FLUSHALL');
    expect(await sent(client, { ...options, ...local }, steps)).toBe(without);
  },
);

test('without them it sends the same on a client on which another limiter prepays and remembers refusals', async () => {
  const alone = await sent(client, BUCKET, [...PASSING, ...BLOCKING, ...REFUSED]);
  await redis.command('FLUSHALL');
  const shared = new Redis({ port });
  const local = { namespace: 'local', denyCache: true, prepay: true };
  const busy = await limiterOf(shared, { ...local, rate: 100_000, period: '1m' });
  const refused = await limiterOf(shared, { ...local, namespace: 'refused', rate: 1, ...hour });
  await many(200, () => busy.allow('busy'));
  await many(20, () => refused.allow('refused'));
  expect(busy.stats().sources.slice).toBeGreaterThan(0);
  expect(refused.stats().sources.deny_cache).toBeGreaterThan(0);
  expect(await sent(shared, BUCKET, [...PASSING, ...BLOCKING, ...REFUSED])).toBe(alone);
  shared.disconnect();
});

test('the comparison sees calls that ask for slices, and calls that are not sent', async () => {
  const plain = await sent(client, BUCKET, REFUSED);
  await redis.command('FLUSHALL');
  const prepaid = await sent(client, { ...BUCKET, prepay: true }, REFUSED);
  await redis.command('FLUSHALL');
  const remembered = await sent(client, { ...BUCKET, denyCache: true }, REFUSED);
  expect(plain).not.toContain(' grant ');
  expect(prepaid).toContain(' grant ');
  expect(remembered.split('\n').length).toBeLessThan(plain.split('\n').length);
});
