import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { decisionOf } from 'distributed-rate-limiter/http';
import { liveLimiters, liveStores } from '../../src/observe/stats-registry.ts';
import { noteDecision } from '../../src/http/request-decision.ts';
import type * as Copies from '../../src/base/copies.ts';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { FakeRedis } from '../kit/fakes/fake-redis.ts';
import { secondCopy } from '../kit/fakes/second-copy.ts';
import { collectWarnings } from '../kit/fakes/warnings.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const warnings = collectWarnings();
const COPIES = '../../src/base/copies.ts';

afterEach(() => {
  vi.doUnmock(COPIES);
});

test('the version by which copies know each other is that of package.json', async () => {
  const { VERSION } = await import('../../src/base/copies.ts');
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  expect(VERSION).toBe(manifest.version);
});

type Copy = Awaited<ReturnType<typeof secondCopy>>;

/** A limit of each algorithm, made by one copy. */
const makers: readonly (readonly [name: string, make: (copy: Copy) => unknown])[] = [
  ['tokenBucket', (copy) => copy.tokenBucket({ rate: 3, period: '1h' })],
  ['slidingWindow', (copy) => copy.slidingWindow({ rate: 3, period: '1h' })],
  ['slidingWindowLog', (copy) => copy.slidingWindowLog({ rate: 3, period: '1h' })],
  ['fixedWindow', (copy) => copy.fixedWindow({ rate: 3, period: '1h' })],
];
const own = {
  tokenBucket,
  slidingWindow,
  slidingWindowLog,
  fixedWindow,
  concurrency,
  MemoryStore,
  RateLimiter,
} as unknown as Copy;

describe('a second copy of the same version', () => {
  test('is another set of classes', async () => {
    const other = await secondCopy();
    expect(other.RateLimiter).not.toBe(RateLimiter);
    expect(other.tokenBucket({ rate: 1, period: '1s' }).constructor).not.toBe(
      tokenBucket({ rate: 1, period: '1s' }).constructor,
    );
  });

  test.each(makers)(
    'shares the state of %s in one memory store, whichever copy made limit, limiter and store',
    async (_name, make) => {
      const other = await secondCopy();
      for (const stores of [own, other]) {
        const store = new stores.MemoryStore();
        const limiters = [own, other].flatMap((made) =>
          [own, other].map(
            (limits) => new made.RateLimiter({ store, limits: [make(limits) as never] }),
          ),
        );
        const allowed = [];
        for (const limiter of limiters) allowed.push((await limiter.allow('user')).allowed);
        expect(allowed).toEqual([true, true, true, false]);
      }
    },
  );

  test('shares places and gives them back', async () => {
    const other = await secondCopy();
    const store = new other.MemoryStore();
    const limits = [other.concurrency({ max: 2, ttl: '1m' })];
    const limiters = [
      new RateLimiter({ store, limits }),
      new other.RateLimiter({ store, limits: [concurrency({ max: 2, ttl: '1m' })] }),
    ] as const;
    const leases = [await limiters[0].acquire('user'), await limiters[1].acquire('user')];
    expect(limiters[0].stats().limits['default']).toMatchObject({ leasesHeld: 1 });
    expect((await limiters[0].acquire('user')).allowed).toBe(false);
    await leases[1]!.release();
    expect((await limiters[0].acquire('user')).allowed).toBe(true);
  });

  test('passes its limits with a call, beside a bucket of this copy', async () => {
    const other = await secondCopy();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1m' });
    const plan = [other.tokenBucket({ rate: 50, period: '1m' })];
    expect(await limiter.allow('user', { limits: plan, cost: 10 })).toMatchObject({
      allowed: true,
      remaining: 40,
    });
  });

  test('refunds a decision by the limiter that made it, over the limit and store of the other', async () => {
    const other = await secondCopy();
    const store = new other.MemoryStore();
    const limits = [other.slidingWindowLog({ rate: 1, period: '1h' })];
    const limiter = new RateLimiter({ store, limits });
    const decision = await limiter.allow('user');
    expect((await limiter.refund(decision)).remaining).toBe(1);
    const another = new other.RateLimiter({ store, limits });
    await expect(another.refund(decision)).rejects.toThrow('must be one that this limiter made');
  });

  test('shares the connection of a client, so that both are sent in one batch', async () => {
    const other = await secondCopy();
    const redis = new FakeRedis();
    const options = { redis, rate: 5, period: '1h' } as const;
    const [mine, theirs] = [new RateLimiter(options), new other.RateLimiter(options)];
    await Promise.all([mine.allow('user'), theirs.allow('user')]);
    expect(redis.sends).toHaveLength(1);
    expect(redis.listeners).toBe(1);
  });

  test('is counted by the same exporters', async () => {
    const other = await secondCopy();
    const redis = new FakeRedis();
    const options = { redis, rate: 5, period: '1h', namespace: 'both-copies' } as const;
    const total = (): number =>
      [...liveStores.read().values()].reduce((sum, { entries }) => sum + entries, 0);
    const before = total();
    await new RateLimiter(options).allow('user');
    await new other.RateLimiter(options).allow('user');
    expect(liveLimiters.read().get('both-copies')).toHaveProperty(
      'decisions.allowed.within_limit',
      2,
    );
    expect(total()).toBe(before + 2);
    const again = await import('../../src/observe/stats-registry.ts');
    expect(again.liveLimiters).toBe(liveLimiters);
  });

  test('notes the decision about a request for both', async () => {
    const decision = await new RateLimiter({
      store: new MemoryStore(),
      rate: 1,
      period: '1s',
    }).allow('user');
    vi.resetModules();
    const other = await import('../../src/http/request-decision.ts');
    expect(other.noteDecision).not.toBe(noteDecision);
    const request = {};
    other.noteDecision(request, decision);
    expect(decisionOf(request)).toBe(decision);
  });

  test('warns of keys that a limiter of the other copy shares', async () => {
    const other = await secondCopy();
    const store = new MemoryStore();
    const redis = new FakeRedis();
    const limiters = [
      new RateLimiter({ redis, rate: 5, period: '1h' }),
      new other.RateLimiter({ redis, rate: 6, period: '1h' }),
      new RateLimiter({ store, rate: 5, period: '1h' }),
    ];
    expect((await warnings()).map(({ code }) => code)).toEqual(['DRL_SHARED_KEYS']);
    await Promise.all(limiters.map((limiter) => limiter.close()));
  });
});

describe('a copy of another version', () => {
  async function otherVersion(): Promise<Copy> {
    vi.doMock(COPIES, async (original) => {
      const copies = await original<typeof Copies>();
      return {
        ...copies,
        VERSION: '0.0.9',
        mark: (prototype: object, brand: symbol) =>
          Object.defineProperty(prototype, brand, { value: '0.0.9' }),
      };
    });
    return secondCopy();
  }
  const CURE = /npm ls distributed-rate-limiter.*npm dedupe/;

  test('is refused with that reason for its limit', async () => {
    const other = await otherVersion();
    const limits = [other.tokenBucket({ rate: 5, period: '1m' })];
    const make = (): unknown => new RateLimiter({ store: new MemoryStore(), limits });
    expect(make).toThrow(
      '`limits` must come from the version of distributed-rate-limiter that is asked, got a limit of another version. Two versions',
    );
    expect(make).toThrow(CURE);
  });

  test('is refused with that reason for its limit given with a call', async () => {
    const other = await otherVersion();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1m' });
    const limits = [
      tokenBucket({ name: 'a', rate: 5, period: '1m' }),
      other.concurrency({ max: 1, ttl: '1m' }),
    ];
    await expect(limiter.allow('user', { limits })).rejects.toThrow(
      /got a limit of another version/,
    );
  });

  test('is refused with that reason for its memory store', async () => {
    const other = await otherVersion();
    const store = new other.MemoryStore();
    const make = (): unknown => new RateLimiter({ store, rate: 5, period: '1m' });
    expect(make).toThrow(
      '`store` must come from the version of distributed-rate-limiter that is asked, got a MemoryStore of another version.',
    );
    expect(make).toThrow(CURE);
  });
});

/**
 * Collections of a module that copies need not share: caches, and notes about objects that only the copy that made
 * them reads.
 */
const PER_COPY = [
  'algorithms/calendar.ts calendars',
  'algorithms/time-zone.ts zones',
  'base/abort.ts bySignal',
  'http/adapters/fastify-routes.ts added',
  'http/adapters/web-response.ts dropped',
  'http/gone-streams.ts awaited',
  'http/headers.ts oldPolicies',
  'http/headers.ts policies',
  'http/request-end.ts sockets',
  'http/request-end.ts watched',
  'limiter/charged-keys.ts known',
  'limiter/shared-keys-warning.ts collected',
  'options/option-problems.ts missingIn',
  'options/option-problems.ts problemsOf',
  'workers/define-limiter.ts clients',
  'workers/define-limiter.ts warnings',
];

test('every collection of a module is shared by all copies, except caches', () => {
  const src = path.join(root, 'src');
  const found = readdirSync(src, { recursive: true, encoding: 'utf8' })
    // The command line is a program of its own.
    .filter((file) => file.endsWith('.ts') && !/^cli\b|\.gen\.ts$/.test(file))
    .flatMap((file) =>
      [
        ...readFileSync(path.join(src, file), 'utf8').matchAll(
          /^(?:export )?const (\w+)(?!\w*: ReadonlySet|\w*: ReadonlyMap)[^=]*=\s*new (?:Weak)?(?:Map|Set|Ref|FinalizationRegistry)\b(?!\(\[)/gm,
        ),
      ].map(([, name]) => `${file.replaceAll(path.sep, '/')} ${name}`),
    );
  const changing = found.filter((each) => !/ [A-Z_]+$/.test(each));
  expect(changing.sort()).toEqual(PER_COPY);
});
