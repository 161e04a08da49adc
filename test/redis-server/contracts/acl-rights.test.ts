import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  RateLimiter,
  StoreError,
  concurrency,
  fixedWindow,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { startRedis } from '../../kit/servers/index.mjs';
import { GRANTED, LINE, LOGIN, SORTED_SETS } from './acl-lines.ts';

const DENIED =
  /NOPERM|can't run this command|no permissions to|can't access at least one of the keys/;

type Limiter = RateLimiter;

/** Every verb of a limiter that rates calls, in the order in which they run. */
const RATES: Readonly<Record<string, (limiter: Limiter, who: string) => Promise<unknown>>> = {
  ready: (limiter) => limiter.ready(),
  allow: (limiter, who) => limiter.allow(who),
  'allow, in one script call with others': (limiter, who) =>
    Promise.all([limiter.allow(who), limiter.allow(`${who}-2`), limiter.allow(who)]),
  peek: (limiter, who) => limiter.peek(who, { cost: 2 }),
  allowUpTo: (limiter, who) => limiter.allowUpTo(who, 3),
  wait: (limiter, who) => limiter.wait(who),
  refund: async (limiter, who) => limiter.refund(await limiter.allow(who, { cost: 2 })),
  penalize: (limiter, who) => limiter.penalize(who, 2),
  credit: (limiter, who) => limiter.credit(who, 1),
  'allow, refused': (limiter, who) => limiter.allow(who, { cost: 40 }),
  observe: (limiter, who) =>
    limiter.observe(who, {
      'ratelimit-limit': '50',
      'ratelimit-remaining': '20',
      'ratelimit-reset': '60',
    }),
  block: (limiter, who) => limiter.block(who, '1h'),
  unblock: (limiter, who) => limiter.unblock(who),
  'reserve, add, settle': async (limiter, who) => {
    const reservation = await limiter.reserve(who, { cost: 3, ttl: '1m' });
    await reservation.add(1);
    await reservation.settle(2);
  },
  'reserve, resume, cancel': async (limiter, who) => {
    const reservation = await limiter.reserve(who, { cost: 3, ttl: '1m' });
    await limiter.resume(reservation.token).cancel();
  },
  reset: (limiter, who) => limiter.reset(who),
};

/** Every verb of a limiter that lends places. */
const PLACES: typeof RATES = {
  ready: (limiter) => limiter.ready(),
  'acquire, renew, release': async (limiter, who) => {
    const lease = await limiter.acquire(who);
    await lease.renew();
    await lease.release();
  },
  'acquire, refused': async (limiter, who) => {
    const leases = [
      await limiter.acquire(who),
      await limiter.acquire(who),
      await limiter.acquire(who),
    ];
    await Promise.all(leases.map((lease) => lease.release()));
  },
  peek: (limiter, who) => limiter.peek(who),
  reset: (limiter, who) => limiter.reset(who),
};

// A log gives nothing back that it did not charge.
const { credit: _, ...LOG_RATES } = RATES;

const period = '1h';
const STRINGS: readonly Limit[] = [
  tokenBucket({ rate: 50, period }),
  slidingWindow({ name: 'sliding', rate: 50, period }),
  fixedWindow({ name: 'fixed', rate: 50, period }),
];
const SETS = {
  strings: { verbs: RATES, limits: STRINGS },
  bucket: { verbs: RATES, limits: STRINGS.slice(0, 1) },
  log: { verbs: LOG_RATES, limits: [slidingWindowLog({ rate: 50, period })] },
  places: { verbs: PLACES, limits: [concurrency({ max: 2, ttl: '10s' })] },
};
type Name = keyof typeof SETS;

describe('the rights of SECURITY.md', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let client: Redis;
  let run = 0;

  beforeAll(async () => {
    redis = await startRedis({ users: ['default off', LINE] });
    client = new Redis({
      port: redis.port,
      ...LOGIN,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
    });
  });
  afterAll(async () => {
    client.disconnect();
    await redis.close();
  });

  /** Runs every verb, on keys of its own and with a server that does not know the script. Answers the failures. */
  async function failures(...names: Name[]): Promise<Record<string, unknown>> {
    const failed: Record<string, unknown> = {};
    for (const name of names) {
      const { verbs, limits } = SETS[name];
      run += 1;
      const limiter = new RateLimiter({
        redis: client,
        namespace: `contract-rights-${run}`,
        limits,
        ...(verbs !== PLACES && { blocks: true, observes: true }),
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
      await redis.command('SCRIPT', 'FLUSH');
      for (const [verb, call] of Object.entries(verbs)) {
        try {
          await call(limiter, 'user');
        } catch (error) {
          failed[`${name}: ${verb}`] = error;
        }
      }
      await limiter.close();
    }
    return failed;
  }

  /** The user with these rights and no others. */
  async function grant(rights: readonly string[]): Promise<void> {
    const user = ['limiter', 'reset', 'on', `>${LOGIN.password}`, '-@all', ...rights];
    await redis.command('ACL', 'SETUSER', ...user);
    await client.call('AUTH', LOGIN.username, LOGIN.password);
  }

  async function expectNeeded(right: string, rights: readonly string[], ...names: Name[]) {
    await grant(rights.filter((each) => each !== right));
    const failed = Object.entries(await failures(...names));
    expect(failed.map(([verb]) => verb)).not.toEqual([]);
    for (const [verb, error] of failed) {
      expect(error, verb).toBeInstanceOf(StoreError);
      expect(error, verb).toMatchObject({ code: 'ERR_STORE', reason: 'store_error' });
      expect(String((error as StoreError).cause), verb).toMatch(DENIED);
    }
  }

  test('the line is read from the document', () => {
    expect(LINE).toContain('~contract-* ~{contract-* -@all +eval +evalsha');
    expect(GRANTED.length).toBeGreaterThan(8);
    expect(SORTED_SETS).toContain('+zadd');
  });

  test('are enough for every verb of limits whose states are strings', async () => {
    await grant(GRANTED);
    expect(await failures('strings', 'bucket')).toEqual({});
  });

  test('are enough, with those for sorted sets, for every verb of every limit', async () => {
    await grant([...GRANTED, ...SORTED_SETS]);
    expect(await failures('strings', 'bucket', 'log', 'places')).toEqual({});
  });

  test.each(GRANTED)('without %s calls fail with a StoreError that tells why', async (right) => {
    await expectNeeded(right, GRANTED, 'strings', 'bucket');
  });

  test.each(SORTED_SETS)(
    'without %s calls of limits on sorted sets fail with a StoreError that tells why',
    async (right) => {
      const rights = [...GRANTED, ...SORTED_SETS];
      await expectNeeded(right, rights, 'log', 'places');
      expect(await failures('strings', 'bucket')).toEqual({});
    },
  );
});
