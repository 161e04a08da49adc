import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit, Reservation } from 'distributed-rate-limiter';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

/**
 * A call that is refused, or of which one key fails, leaves every key byte for byte as it was: in every verb, over three
 * homes with two states each and a log.
 */

type Unit = 'calls' | 'tokens';
type Part = 'org' | 'key' | 'ip';
type AnyLimits = readonly Limit<string, Part, Unit>[];
type Limiter = RateLimiter<Part, Unit>;

/** No unit comes back during a test. */
const period = '300d';
const identity = { org: 'acme', key: 'k', ip: '::1' };
const cost = { calls: 1, tokens: 10 };

const LIMITS = [
  { name: 'key', make: tokenBucket, by: ['org', 'key'], unit: 'calls' },
  { name: 'key-tokens', make: slidingWindow, by: ['org', 'key'], unit: 'tokens' },
  { name: 'org', make: fixedWindow, by: ['org'], unit: 'calls' },
  { name: 'org-tokens', make: tokenBucket, by: ['org'], unit: 'tokens' },
  { name: 'ip', make: slidingWindow, by: ['org', 'ip'], unit: 'calls' },
  { name: 'ip-tokens', make: fixedWindow, by: ['org', 'ip'], unit: 'tokens' },
  { name: 'log', make: slidingWindowLog, by: ['org', 'ip'], unit: 'calls' },
] as const;
const NAMES = LIMITS.map(({ name }) => name);
type Name = (typeof NAMES)[number];

/** What `prepare` charges: a call that passes, and a reservation with one `add`. */
const USED = { calls: 2, tokens: 25 };

/** The limits; under the tight one nothing more passes after `prepare`. */
function limitsWith(tight?: Name): AnyLimits {
  return LIMITS.map(({ name, make, by, unit }) =>
    make({
      name,
      by,
      unit,
      period,
      rate: name === tight ? USED[unit] : 1_000,
      maxDebt: name === tight ? 0 : 500,
    }),
  );
}

let redis: RedisServer;
let client: Redis;
let made = 0;

beforeAll(async () => {
  redis = await startRedis();
  client = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: 0 });
});
afterAll(async () => {
  client.disconnect();
  await redis.close();
});
afterEach(async () => {
  await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  await redis.command('FLUSHALL');
});

interface World {
  readonly limiter: Limiter;
  readonly passed: Decision;
  readonly reservation: Reservation<Unit>;
}

async function prepare(limits: AnyLimits, lends: boolean): Promise<World> {
  await redis.command('FLUSHALL');
  const options = {
    redis: client,
    namespace: `atomic-${++made}`,
    failStrategy: 'throw',
    timeoutMs: 10_000,
  } as const;
  const limiter: Limiter = new RateLimiter({ ...options, limits });
  const passed = await limiter.allow(identity, { cost });
  const reservation = await limiter.reserve(identity, { cost, ttl: '1h' });
  expect(await reservation.add({ tokens: 5 })).toMatchObject({ allowed: true });
  if (!lends) {
    return { limiter, passed, reservation };
  }
  // Over the same homes, with places in two of them.
  const lending: Limiter = new RateLimiter({
    ...options,
    limits: [
      ...limits,
      concurrency({ name: 'key-places', by: ['org', 'key'], max: 9, ttl: '1h' }),
      concurrency({ name: 'org-places', by: 'org', max: 9, ttl: '1h' }),
    ],
  });
  const lease = await lending.acquire(identity, { cost: { calls: 0 } });
  expect(lease.allowed).toBe(true);
  return { limiter: lending, passed, reservation };
}

interface Act {
  readonly run: (world: World) => Promise<unknown>;
  /** The limits whose states the verb reads. */
  readonly reads: readonly Name[];
  /** Whether it reads the record of the reservation. */
  readonly recorded?: true;
  /** The units that it asks for, if it can be refused. */
  readonly asks?: readonly Unit[];
  readonly lends?: true;
}

const ofUnit = (unit: Unit): readonly Name[] =>
  LIMITS.filter((limit) => limit.unit === unit).map(({ name }) => name);

const VERBS: Readonly<Record<string, Act>> = {
  allow: {
    run: ({ limiter }) => limiter.allow(identity, { cost }),
    reads: NAMES,
    asks: ['calls', 'tokens'],
  },
  'allowUpTo calls': {
    run: ({ limiter }) => limiter.allowUpTo(identity, { calls: 3 }),
    reads: ofUnit('calls'),
    asks: ['calls'],
  },
  'allowUpTo tokens': {
    run: ({ limiter }) => limiter.allowUpTo(identity, { tokens: 3 }),
    reads: ofUnit('tokens'),
    asks: ['tokens'],
  },
  reserve: {
    run: ({ limiter }) => limiter.reserve(identity, { cost, ttl: '1h' }),
    reads: NAMES,
    asks: ['calls', 'tokens'],
  },
  add: {
    run: ({ reservation }) => reservation.add({ calls: 1, tokens: 1 }),
    reads: NAMES,
    recorded: true,
    asks: ['calls', 'tokens'],
  },
  'settle below the estimate': {
    run: ({ reservation }) => reservation.settle({ tokens: 1 }),
    reads: NAMES,
    recorded: true,
  },
  'settle above the estimate': {
    run: ({ reservation }) => reservation.settle({ calls: 2, tokens: 90 }),
    reads: NAMES,
    recorded: true,
  },
  cancel: { run: ({ reservation }) => reservation.cancel(), reads: NAMES, recorded: true },
  'penalize a key': {
    run: ({ limiter }) => limiter.penalize({ org: 'acme', key: 'k' }, { calls: 1, tokens: 3 }),
    reads: ['key', 'key-tokens'],
  },
  'penalize an address': {
    run: ({ limiter }) => limiter.penalize({ org: 'acme', ip: '::1' }, { calls: 1, tokens: 3 }),
    reads: ['ip', 'ip-tokens', 'log'],
  },
  'credit a key': {
    run: ({ limiter }) => limiter.credit({ org: 'acme', key: 'k' }, { calls: 1, tokens: 3 }),
    reads: ['key', 'key-tokens'],
  },
  refund: { run: ({ limiter, passed }) => limiter.refund(passed), reads: NAMES },
  acquire: {
    run: ({ limiter }) => limiter.acquire(identity, { cost }),
    reads: NAMES,
    asks: ['calls', 'tokens'],
    lends: true,
  },
};
const verbs = Object.entries(VERBS);

/** Every key with all that it holds, and when it expires. */
async function contentOf(): Promise<readonly (readonly string[])[]> {
  const keys = ((await redis.command('KEYS', '*')) as string[]).sort();
  return Promise.all(
    keys.map(async (key) => [
      key,
      (await redis.command('DUMP', key)) as string,
      String(await redis.command('PEXPIRETIME', key)),
    ]),
  );
}

async function valuesOf(): Promise<ReadonlyMap<string, string>> {
  const homes = ((await redis.command('KEYS', '*')) as string[]).filter((key) => !/[/#]/.test(key));
  expect(homes).toHaveLength(3);
  return new Map(
    await Promise.all(
      homes.map(async (key) => [key, (await redis.command('GET', key)) as string] as const),
    ),
  );
}

/** The names of the limits whose states are in a value, by the texts of these states. */
function statesIn(value: string): readonly { name: Name; text: string }[] {
  const states = value
    .split(';')
    .slice(1)
    .map((part) => ({ name: /^[^=]+/.exec(part)![0] as Name, text: part }));
  expect(NAMES).toEqual(expect.arrayContaining(states.map(({ name }) => name)));
  return states;
}

/** Runs the verb, which must fail with this message and change nothing; or, if it reads nothing spoilt, succeed. */
async function expectFailure(run: () => Promise<unknown>, message: string): Promise<void> {
  const before = await contentOf();
  await expect(run()).rejects.toMatchObject({
    code: 'ERR_STORE',
    message: expect.stringContaining(message),
  });
  expect(await contentOf()).toEqual(before);
}

describe('a call over several homes leaves every key byte for byte as it was', () => {
  const refusable = verbs.filter(([, { asks }]) => asks !== undefined);

  test.each(
    refusable.flatMap(([verb, act]) =>
      LIMITS.filter(({ unit }) => act.asks!.includes(unit)).map(
        ({ name }) => [verb, name, act] as const,
      ),
    ),
  )('if %s is refused by the limit %s alone', async (_verb, name, { run, lends }) => {
    const world = await prepare(limitsWith(name), lends === true);
    const before = await contentOf();
    const answer = await run(world);
    expect(answer).toMatchObject({ allowed: false, reason: 'limited', limitedBy: [name] });
    expect(await contentOf()).toEqual(before);
  });

  test.each(['key-places', 'org-places'])(
    'if acquire finds no place under the limit %s',
    async (name) => {
      const limits = [
        ...limitsWith(),
        concurrency({
          name: 'key-places',
          by: ['org', 'key'],
          max: name === 'key-places' ? 1 : 2,
          ttl: '1h',
        }),
        concurrency({
          name: 'org-places',
          by: 'org',
          max: name === 'org-places' ? 1 : 2,
          ttl: '1h',
        }),
      ];
      const limiter: Limiter = new RateLimiter({
        redis: client,
        namespace: `places-${++made}`,
        limits,
      });
      await limiter.acquire(identity, { cost });
      const before = await contentOf();
      const refused = await limiter.acquire(identity, { cost });
      expect(refused).toMatchObject({ allowed: false, limitedBy: [name] });
      expect(await contentOf()).toEqual(before);
    },
  );

  test.each(verbs)('if a server without memory fails %s', async (_verb, { run, lends }) => {
    const world = await prepare(limitsWith(), lends === true);
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await expectFailure(() => run(world), 'OOM');
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
  });

  test.each(verbs)('if one key is of another type for %s', async (_verb, act) => {
    let failed = 0;
    // A refund is made once, so each key has a world of its own.
    for (let at = 0, keys = 1; at < keys; at++) {
      const world = await prepare(limitsWith(), act.lends === true);
      const content = await contentOf();
      keys = content.length;
      expect(keys).toBe(act.lends === true ? 7 : 5);
      const key = content[at]![0]!;
      const states = statesIn((await valuesOf()).get(key) ?? '');
      const isRead =
        states.some(({ name }) => act.reads.includes(name)) ||
        (key.endsWith(':sliding_window_log') && act.reads.includes('log')) ||
        key.endsWith(':concurrency') ||
        (key.includes('#r:') && act.recorded === true);
      if (isRead) {
        await redis.command('DEL', key);
        await redis.command('HSET', key, 'field', 'theirs');
        await expectFailure(() => act.run(world), 'WRONGTYPE');
        failed += 1;
      }
    }
    expect(failed).toBeGreaterThan(0);
  });

  test.each(verbs)('if one state of a value is unreadable for %s', async (_verb, act) => {
    let spoilt = 0;
    for (const name of act.reads.filter((each) => each !== 'log')) {
      const world = await prepare(limitsWith(), act.lends === true);
      const homes = await valuesOf();
      const [key, value] = [...homes].find(([, text]) =>
        statesIn(text).some((each) => each.name === name),
      )!;
      const { text } = statesIn(value).find((each) => each.name === name)!;
      expect(statesIn(value).length).toBeGreaterThan(1);
      await redis.command('SET', key, value.replace(text, `${text}:x`), 'KEEPTTL');
      await expectFailure(() => act.run(world), 'UNREADABLE');
      spoilt += 1;
    }
    expect(spoilt).toBe(act.reads.filter((name) => name !== 'log').length);
  });

  test.each(verbs.filter(([, { recorded }]) => recorded === true))(
    'if the record is unreadable for %s',
    async (_verb, act) => {
      const world = await prepare(limitsWith(), false);
      const key = ((await redis.command('KEYS', '*#r:*')) as string[])[0]!;
      await redis.command('SET', key, 'held;1;1', 'KEEPTTL');
      await expectFailure(() => act.run(world), 'UNREADABLE');
    },
  );
});

describe('without memory, a refund', () => {
  /** Refunding its only charge empties the log, which Redis deletes even now; the window has to be stored. */
  test.each([
    ['the key that would be deleted comes last', ['window', 'log']],
    ['the key that would be deleted comes first', ['log', 'window']],
  ])('takes effect in both homes or in none if %s', async (_, names) => {
    const all: Readonly<Record<string, Limit<string, 'org' | 'key'>>> = {
      window: slidingWindow({ name: 'window', by: 'org', rate: 9, period }),
      log: slidingWindowLog({ name: 'log', by: ['org', 'key'], rate: 9, period }),
    };
    const limiter = new RateLimiter<'org' | 'key'>({
      redis: client,
      namespace: `refund-${++made}`,
      limits: names.map((name) => all[name]!),
      failStrategy: 'throw',
    });
    await limiter.allow({ org: 1, key: 1 });
    const decision = await limiter.allow({ org: 1, key: 2 });
    const before = await contentOf();
    expect(before).toHaveLength(3);
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    const answer = await limiter.refund(decision).catch((error: unknown) => error);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    if (answer instanceof Error) {
      expect(answer.message).toContain('OOM');
      expect(await contentOf()).toEqual(before);
    } else {
      const { limits } = await limiter.peek({ org: 1, key: 2 });
      const used = Object.fromEntries(
        limits.map(({ name, limit, remaining }) => [name, limit - remaining!]),
      );
      expect(used).toEqual({ window: 1, log: 0 });
    }
  });

  test('fails alone in a batch, and keeps its homes as they are', async () => {
    const limiter = new RateLimiter<'org' | 'key'>({
      redis: client,
      namespace: `refund-${++made}`,
      limits: [
        slidingWindow({ name: 'window', by: 'org', rate: 9, period }),
        slidingWindowLog({ name: 'log', by: ['org', 'key'], rate: 9, period }),
      ],
      failStrategy: 'throw',
    });
    await limiter.allow({ org: 1, key: 1 });
    const refunded = await limiter.allow({ org: 1, key: 2 });
    await limiter.allow({ org: 2, key: 3 });
    const before = await contentOf();
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    const [first, second] = await Promise.allSettled([
      limiter.refund(refunded),
      limiter.reset({ org: 2, key: 3 }),
    ]);
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    expect([first.status, second.status]).toEqual(['rejected', 'fulfilled']);
    const after = await contentOf();
    expect(after).toHaveLength(before.length - 1);
    expect(before).toEqual(expect.arrayContaining([...after]));
  });
});
