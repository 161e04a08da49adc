import { RateLimiter, RateLimiterError, tokenBucket } from 'distributed-rate-limiter';
import type { Decision } from 'distributed-rate-limiter';
import type { RateLimiterSync as FromSources } from 'distributed-rate-limiter/sync';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { MessagePort } from 'node:worker_threads';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

// Imports the build: Node 20 runs no worker written in TypeScript. A variable, because the types come from the sources.
const built = new URL('../../../dist/sync/index.js', import.meta.url).href;
const { RateLimiterSync }: { RateLimiterSync: typeof FromSources } = await import(built);

let redis: RedisServer;
const open: { close(): unknown }[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((limiter) => limiter.close()));
});
afterAll(() => redis.close());

const hour = { period: '1h' } as const;
const files = { name: 'files', by: ['team', 'user'], rate: 10, ...hour } as const;
const volume = { name: 'volume', by: 'team', unit: 'bytes', rate: 500, ...hour } as const;

type Sync = FromSources<'team' | 'user', 'bytes'>;
type Async = RateLimiter<'team' | 'user', 'bytes'>;

function sync(namespace: string, options: object = {}): Sync {
  const limiter: Sync = new RateLimiterSync({
    redis: redis.url,
    timeoutMs: 5_000,
    namespace,
    limits: [files, volume],
    ...options,
  });
  open.push(limiter);
  return limiter;
}

function async(namespace: string): Async {
  const limiter = new RateLimiter({
    redis: redis.url,
    timeoutMs: 5_000,
    namespace,
    limits: [tokenBucket(files), tokenBucket(volume)],
  });
  open.push(limiter);
  return limiter;
}

function left({ limits }: Decision): unknown {
  return Object.fromEntries(limits.map(({ name, remaining }) => [name, remaining]));
}

const anna = { team: 'docs', user: 'anna' };

describe('limits by part and unit of the synchronous limiter', () => {
  test('count on the same keys as those of the asynchronous one', async () => {
    const [here, there] = [sync('same'), async('same')];
    expect(left(here.allow(anna, { cost: { bytes: 120 } }))).toEqual({ files: 9, volume: 380 });
    expect(left(await there.allow(anna, { cost: { bytes: 80 } }))).toEqual({
      files: 8,
      volume: 300,
    });
    expect(left(here.peek({ team: 'docs', user: 'ben' }, { cost: 0 }))).toEqual({
      files: 10,
      volume: 300,
    });
    expect(here.allow(anna, { cost: { bytes: 301 } })).toMatchObject({
      allowed: false,
      reason: 'limited',
      limitedBy: ['volume'],
      cost: { calls: 1, bytes: 301 },
    });
    expect(here.allow(anna, { cost: { bytes: 501 } })).toMatchObject({
      reason: 'impossible',
      maxCost: { calls: 10, bytes: 500 },
    });
    here.reset({ team: 'docs' });
    expect(left(await there.peek(anna, { cost: 0 }))).toEqual({ files: 8, volume: 500 });
    here.reset({ user: 'anna', team: 'docs' });
    expect(left(await there.peek(anna, { cost: 0 }))).toEqual({ files: 10, volume: 500 });
  });

  test.each<[string, object, object]>([
    ['numbers and bigints', { team: 42, user: 7n }, { team: '42', user: '7' }],
    ['null', { team: 'docs', user: null }, { team: 'docs', user: null }],
    [
      'properties of an instance, whose methods cannot be sent',
      new (class Account {
        team = 'docs';
        user = 'carl';
        save(): void {}
      })(),
      { team: 'docs', user: 'carl' },
    ],
    [
      'getters',
      Object.defineProperties(
        {},
        {
          team: { enumerable: true, get: () => 'docs' },
          user: { enumerable: true, get: () => 'dora' },
        },
      ),
      { team: 'docs', user: 'dora' },
    ],
  ])('reach the thread as they are: %s', async (what, given, same) => {
    const namespace = `crossing-${what.slice(0, 4)}`;
    const cost = { bytes: 20 };
    sync(namespace).allow(given as typeof anna, { cost });
    const decision = await async(namespace).peek(same as typeof anna, { cost: 0 });
    expect(decision.limits.at(-1)).toMatchObject({ name: 'volume', remaining: 480 });
  });

  test('a part may have the name of a property of all objects', () => {
    const names = ['__proto__', 'toString'] as const;
    const limiter = new RateLimiterSync({
      redis: redis.url,
      timeoutMs: 5_000,
      namespace: 'names',
      limits: names.map((name) => ({ name, by: name, rate: 5, ...hour })),
    });
    open.push(limiter);
    const identity = JSON.parse('{ "__proto__": "a", "toString": "b" }') as never;
    expect(left(limiter.allow(identity))).toEqual(JSON.parse('{ "__proto__": 4, "toString": 4 }'));
    expect(left(limiter.peek(identity))).toEqual(JSON.parse('{ "__proto__": 4, "toString": 4 }'));
  });

  test('hooks get the parts as they were passed, and the cost by name', () => {
    const seen: unknown[] = [];
    const limiter = sync('hooks', {
      onAllow: (identity: unknown, { cost }: Decision) => seen.push(identity, cost),
    });
    limiter.allow(anna, { cost: { bytes: 5 } });
    expect(seen[0]).toBe(anna);
    expect(seen[1]).toEqual({ calls: 1, bytes: 5 });
  });

  test('a degraded decision has the cost by name', () => {
    const limiter = sync('away', { redis: 'redis://127.0.0.1:1' });
    expect(limiter.allow(anna, { cost: { bytes: 5 } })).toMatchObject({
      allowed: true,
      degraded: true,
      cost: { calls: 1, bytes: 5 },
    });
  });
});

describe('wrong parts and units are refused as by the asynchronous limiter, and nothing is sent', () => {
  const rows: readonly (readonly [string, unknown, unknown])[] = [
    ['a missing part', { team: 'docs' }, undefined],
    ['an undefined part', { team: 'docs', user: undefined }, undefined],
    ['an unknown part', { ...anna, ip: '::1' }, undefined],
    ['an empty part', { team: '', user: 'anna' }, undefined],
    ['a part of another type', { team: 'docs', user: () => 1 }, undefined],
    ['a whole identity', 'anna', undefined],
    ['several parts without names', ['docs', 'anna'], undefined],
    ['nothing', undefined, undefined],
    ['only parts that are null', { team: null, user: null }, undefined],
    ['units of no limit that null leaves', { team: 'docs', user: null }, undefined],
    ['a number where units are named', anna, { cost: 5 }],
    ['an unknown unit', anna, { cost: { byte: 5 } }],
    ['an undefined unit', anna, { cost: { bytes: undefined } }],
    ['a fraction of a unit', anna, { cost: { bytes: 0.5 } }],
    ['a cost of another type', anna, { cost: [5] }],
  ];
  test.each(rows)('%s', async (_, identity, options) => {
    const [here, there] = [sync('refused'), async('refused')];
    here.peek(anna); // The thread has started.
    const post = vi.spyOn(MessagePort.prototype, 'postMessage');
    try {
      for (const verb of ['allow', 'peek'] as const) {
        const theirs: unknown = await there[verb](identity as never, options as never).catch(
          (error: unknown) => error,
        );
        expect(theirs).toBeInstanceOf(RateLimiterError);
        const { code, message } = theirs as RateLimiterError;
        expect(() => here[verb](identity as never, options as never)).toThrow(
          expect.objectContaining({ name: 'RateLimiterError', code, message }),
        );
      }
      expect(post).not.toHaveBeenCalled();
    } finally {
      post.mockRestore();
    }
  });

  test.each([
    ['a part of a counter', { user: 'anna' }],
    ['a null part', { team: 'docs', user: null }],
    ['a whole identity', 'anna'],
  ])('in `reset`: %s', async (_, identity) => {
    const [here, there] = [sync('reset'), async('reset')];
    const theirs: unknown = await there.reset(identity as never).catch((error: unknown) => error);
    const { code, message } = theirs as RateLimiterError;
    expect(code).toBe('ERR_INVALID_IDENTITY');
    expect(() => here.reset(identity as never)).toThrow(expect.objectContaining({ code, message }));
  });

  test('names where no limit has a unit, parts where no limit says `by`', () => {
    const limiter = new RateLimiterSync({ redis: redis.url, rate: 5, ...hour });
    open.push(limiter);
    expect(() => limiter.allow('a', { cost: { calls: 1 } as never })).toThrow('To name units');
    expect(() => limiter.allow(anna as never)).toThrow('`identity` must be');
  });

  test('limits without a common part on a cluster, when the limiter is made', () => {
    const limits = [files, { name: 'ip', by: 'ip', rate: 5, ...hour }];
    expect(() => new RateLimiterSync({ redis: redis.url, cluster: true, limits } as never)).toThrow(
      'the limit "files" counts by team, user and the limit "ip" by ip',
    );
  });
});
