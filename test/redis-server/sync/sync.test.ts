import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import {
  RateLimiter,
  RateLimiterError,
  slidingWindow,
  StoreError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Identity } from 'distributed-rate-limiter';
import type {
  RateLimiterSync as FromSources,
  RateLimiterSyncOptions,
} from 'distributed-rate-limiter/sync';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePort, startCluster, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

// Imports the build: Node 20 runs no worker written in TypeScript. A variable, because the types come from the sources.
const built = new URL('../../../dist/sync/index.js', import.meta.url).href;
const { RateLimiterSync }: { RateLimiterSync: typeof FromSources } = await import(built);

/** The calling thread waits in pieces of this length, and for 10 of them beyond a call's deadline. */
const PIECE_MS = 100;
const GRACE_PIECES = 10;

let redis: RedisServer;
const open: { close(): unknown }[] = [];
beforeAll(async () => {
  redis = await startRedis({ users: ['reader on >secret ~* +@connection +info'] });
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((limiter) => limiter.close()));
});
afterAll(() => redis.close());

function sync(options: object): FromSources {
  const defaults = { redis: redis.url, timeoutMs: 5_000, rate: 3, period: '1h' };
  const limiter = new RateLimiterSync({ ...defaults, ...options } as RateLimiterSyncOptions);
  open.push(limiter);
  return limiter;
}

/** The error that a call throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return 'nothing was thrown';
}

/** A new thread is announced in the next turn. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Counts the pieces that a call waited to their end. A busy processor lengthens a piece and adds none. */
function piecesWaited(call: () => unknown): number {
  const wait = vi.spyOn(Atomics, 'wait');
  try {
    call();
    return wait.mock.results.filter(({ value }) => value === 'timed-out').length;
  } finally {
    wait.mockRestore();
  }
}

describe('the same decisions as the asynchronous limiter', () => {
  const shadow = slidingWindow({ name: 'shadow', rate: 1, period: '1h', shadow: true });
  const plain: readonly (readonly [string, object])[] = [
    ['token_bucket', { rate: 3, period: '1h', burst: 2 }],
    ['sliding_window', { algorithm: 'sliding_window', rate: 2, period: '1h' }],
    ['sliding_window_log', { algorithm: 'sliding_window_log', rate: 2, period: '1h' }],
    [
      'fixed_window',
      { algorithm: 'fixed_window', rate: 2, period: 'year', timeZone: 'Asia/Tokyo' },
    ],
    [
      'several-limits',
      {
        rate: undefined,
        period: undefined,
        limits: [
          { rate: 3, period: '1h', burst: 2 },
          { name: 'shadow', algorithm: 'sliding_window', rate: 1, period: '1h', shadow: true },
        ],
      },
    ],
    ['hashSecret', { rate: 2, period: '1h', hashSecret: 'x'.repeat(32) }],
  ];

  test.each(plain)('agrees on the same keys: %s', async (namespace, options) => {
    const here = sync({ namespace, ...options });
    const { limits, ...rest } = options as { limits?: { name?: string }[] };
    const there = new RateLimiter({
      redis: redis.url,
      timeoutMs: 5_000,
      namespace,
      ...rest,
      ...(limits === undefined
        ? {}
        : { limits: [tokenBucket({ rate: 3, period: '1h', burst: 2 }), shadow] }),
    });
    open.push(there);

    /** Both answers to one question are equal, except for the time that passed in between. */
    const alike = async (
      ask: (limiter: FromSources | RateLimiter) => Decision | Promise<Decision>,
    ): Promise<Decision> => {
      const start = performance.now();
      const [mine, theirs] = [ask(here) as Decision, await ask(there)];
      const passedMs = Math.ceil(performance.now() - start) + 1;
      const times: number[] = [];
      const timeless = (decision: Decision): unknown =>
        JSON.parse(
          JSON.stringify(decision, (name: string, value: unknown) => {
            if (!name.endsWith('Ms')) return value;
            times.push(value as number);
            return 'a time';
          }),
        );
      expect(timeless(mine)).toStrictEqual(timeless(theirs));
      const half = times.length / 2;
      const apart = times.slice(half).map((ms, i) => Math.abs(ms - times[i]!));
      expect(Math.max(0, ...apart)).toBeLessThanOrEqual(passedMs);
      return mine;
    };

    expect(await alike((limiter) => limiter.peek('user'))).toMatchObject({ allowed: true });
    expect(here.allow('user')).toMatchObject({ allowed: true, remaining: 1 });
    await alike((limiter) => limiter.peek('user'));
    expect(await there.allow('user')).toMatchObject({ allowed: true, remaining: 0 });
    // A refusal charges nothing, so the call can be repeated.
    expect(await alike((limiter) => limiter.allow('user'))).toMatchObject({ reason: 'limited' });
    expect(await alike((limiter) => limiter.allow('user', { cost: 3 }))).toMatchObject({
      reason: 'impossible',
    });
    here.reset('user');
    expect(await alike((limiter) => limiter.peek('user'))).toMatchObject({ remaining: 2 });
    expect(here.allow(['org', 'user'], { cost: 2 }).allowed).toBe(true);
    expect((await there.allow(['org', 'user'])).allowed).toBe(false);
  });

  test('peek works under a concurrency limit, and allow fails with ERR_LEASE_REQUIRED', () => {
    const limiter = sync({
      namespace: 'places',
      rate: undefined,
      period: undefined,
      algorithm: 'concurrency',
      max: 2,
      ttl: '1s',
    });
    expect(limiter.peek('user')).toMatchObject({ remaining: 2 });
    expect(thrownBy(() => limiter.allow('user'))).toMatchObject({ code: 'ERR_LEASE_REQUIRED' });
  });
});

test.each([
  ['', true],
  [', with tags', { tags: 16 } as const],
])(
  'agrees with the asynchronous limiter on identities of every node of a cluster%s',
  async (_, how) => {
    const cluster = await startCluster();
    const both = {
      redis: cluster.nodes[0]!.url,
      cluster: how,
      timeoutMs: 5_000,
      namespace: 'spread',
    };
    const limits = { rate: 2, period: '1h' } as const;
    const limiter = sync({ ...both, ...limits });
    const other = new RateLimiter({ ...both, ...limits });
    open.push(other);
    try {
      for (let i = 0; i < 12; i++) {
        const identity = `user:${i}`;
        expect(limiter.allow(identity)).toMatchObject({ degraded: false, remaining: 1 });
        expect(await other.allow(identity)).toMatchObject({ degraded: false, remaining: 0 });
        expect(limiter.allow(identity)).toMatchObject({ allowed: false, reason: 'limited' });
      }
      const sizes = await Promise.all(cluster.nodes.map((node) => node.command('DBSIZE')));
      expect(sizes.every((size) => size > 0)).toBe(true);
    } finally {
      await cluster.close();
    }
  },
);

describe('hooks of the synchronous limiter', () => {
  const warnings = collectWarnings();

  test("are called in the caller's thread before the call returns, with the identity as passed", () => {
    const seen: unknown[] = [];
    const limiter = sync({
      namespace: 'hooks',
      rate: 1,
      onAllow: (identity: Identity, { reason }: Decision) => seen.push(['allow', identity, reason]),
      onBlock: (identity: Identity, { reason }: Decision) => seen.push(['block', identity, reason]),
    });
    const identity = ['org', 'user'];
    limiter.allow(identity);
    seen.push('returned');
    limiter.peek(identity);
    limiter.allow(identity);
    expect(seen).toEqual([
      ['allow', identity, 'within_limit'],
      'returned',
      ['block', identity, 'limited'],
    ]);
    expect((seen[0] as unknown[])[1]).toBe(identity);
  });

  test('a hook that throws breaks nothing and is reported once', async () => {
    const limiter = sync({
      namespace: 'broken-hooks',
      onAllow: () => {
        throw new Error('mine');
      },
    });
    expect([limiter.allow('user').allowed, limiter.allow('user').allowed]).toEqual([true, true]);
    expect((await warnings()).map(({ code }) => code)).toEqual(['DRL_HOOK_FAILED']);
  });
});

test('a whole number as identity equals its decimal digits', () => {
  const limiter = sync({ namespace: 'numbers', rate: 3 });
  limiter.allow(42);
  limiter.allow(42n);
  expect(limiter.peek('42').remaining).toBe(1);
  limiter.allow(['acme', 42]);
  expect(limiter.peek(['acme', '42']).remaining).toBe(2);
  limiter.reset(42n);
  expect(limiter.peek('42').remaining).toBe(3);
});

describe('errors', () => {
  test('an invalid call throws an error of its own class and code', () => {
    const limiter = sync({ namespace: 'errors' });
    for (const [call, code] of [
      [() => limiter.allow(''), 'ERR_INVALID_IDENTITY'],
      [() => limiter.allow((() => 1) as never), 'ERR_INVALID_IDENTITY'],
      [() => limiter.reset(0.5), 'ERR_INVALID_IDENTITY'],
      [() => limiter.peek('user', { cost: -1 }), 'ERR_INVALID_COST'],
      [() => limiter.allow('user', { limits: [] } as never), 'ERR_INVALID_OPTION'],
      [() => limiter.allow('user', { cots: 5 } as never), 'ERR_INVALID_OPTION'],
    ] as const) {
      const error = thrownBy(call);
      expect(error).toBeInstanceOf(RateLimiterError);
      expect(error).not.toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ code });
    }
  });

  test('an error of the server keeps its reason and cause, and onError gets the same object', async () => {
    const onError = vi.fn<(error: StoreError) => void>();
    const url = redis.url.replace('redis://', 'redis://reader:secret@');
    const limiter = sync({ redis: url, namespace: 'refused', failStrategy: 'closed', onError });
    const decision = limiter.allow('user');
    const there = new RateLimiter({
      redis: url,
      timeoutMs: 5_000,
      namespace: 'refused',
      failStrategy: 'closed',
      rate: 3,
      period: '1h',
    });
    open.push(there);
    const theirs = await there.allow('user');
    if (!decision.degraded || !theirs.degraded) throw new Error('the server let it pass');
    const { error } = decision;
    expect(error).toBeInstanceOf(StoreError);
    expect(error.stack).toContain('StoreError');
    const shown = ({ name, code, reason, message, cause }: StoreError) => ({
      name,
      code,
      reason,
      message,
      cause: { name: (cause as Error).name, message: (cause as Error).message },
    });
    expect(shown(error)).toEqual(shown(theirs.error));
    expect({ ...decision, error: 0 }).toStrictEqual({ ...theirs, error: 0 });
    expect(error.cause).toMatchObject({ message: expect.stringMatching(/^NOPERM/) });
    expect(onError.mock.lastCall?.[0]).toBe(error);
    const thrown = thrownBy(() => limiter.reset('user'));
    expect(thrown).toBeInstanceOf(StoreError);
    expect(thrown).toMatchObject({ code: 'ERR_STORE', reason: 'store_error' });
  });
});

describe('the synchronous limiter while Redis is away', () => {
  test.each([
    ['open', true],
    ['closed', false],
  ])('failStrategy %s returns a degraded decision', async (failStrategy, allowed) => {
    const onError = vi.fn<(error: StoreError) => void>();
    const absent = `redis://127.0.0.1:${await freePort()}`;
    const limiter = sync({ redis: absent, failStrategy, onError });
    for (let call = 1; call <= 3; call++) {
      const decision = limiter.allow('user');
      const error: unknown = decision.degraded ? decision.error : undefined;
      const reason = 'store_away';
      expect(decision).toStrictEqual({
        allowed,
        degraded: true,
        reason,
        source: 'none',
        cost: 1,
        limits: [],
        error,
      });
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ code: 'ERR_STORE_AWAY', reason });
    }
    expect(onError, 'once for the whole outage').toHaveBeenCalledTimes(1);
  });

  test('failStrategy throw throws, and reset throws under every strategy', async () => {
    const absent = `redis://127.0.0.1:${await freePort()}`;
    const limiter = sync({ redis: absent, failStrategy: 'throw' });
    for (const call of [() => limiter.allow('user'), () => limiter.reset('user')]) {
      const error = thrownBy(call);
      expect(error).toBeInstanceOf(StoreError);
      expect(error).toMatchObject({ reason: 'store_away' });
    }
  });

  test('a suspended server is answered within the deadline, then at once, and normally after it resumes', async () => {
    const other = await startRedis();
    try {
      const limiter = sync({ redis: other.url, timeoutMs: 400, rate: 1_000 });
      await waitUntil('a first answer', () => !limiter.allow('user').degraded);
      await other.stop();
      let decision: Decision | undefined;
      const pieces = piecesWaited(() => {
        decision = limiter.allow('user');
      });
      expect(decision).toMatchObject({ degraded: true, reason: 'store_timeout', allowed: true });
      expect(pieces).toBeGreaterThanOrEqual(400 / PIECE_MS - 1);
      expect(pieces).toBeLessThanOrEqual(400 / PIECE_MS + GRACE_PIECES);
      await other.cont();
      await waitUntil('a real answer', () => !limiter.allow('user').degraded);
    } finally {
      await other.close();
    }
  });
});

describe('the worker thread', () => {
  test('a call whose thread dies is answered in time, and the next call starts another thread', async () => {
    const threads: Worker[] = [];
    const note = (worker: Worker): void => void threads.push(worker);
    process.on('worker', note);
    try {
      const onError = vi.fn<(error: StoreError) => void>();
      const limiter = sync({ namespace: 'dies', timeoutMs: 300, failStrategy: 'closed', onError });
      await waitUntil('a first answer', () => !limiter.peek('user').degraded);
      await nextTurn();
      expect(threads).toHaveLength(1);
      onError.mockClear();
      // This thread processes nothing of it before the call below returns.
      void threads[0]!.terminate();
      let decision: Decision | undefined;
      const pieces = piecesWaited(() => {
        decision = limiter.allow('user');
      });
      expect(decision).toMatchObject({ allowed: false, degraded: true, reason: 'store_timeout' });
      expect(pieces).toBeLessThanOrEqual(300 / PIECE_MS + GRACE_PIECES);
      expect(onError.mock.calls).toEqual([[(decision as { error?: unknown }).error]]);
      await waitUntil('a real answer', () => !limiter.allow('user').degraded);
      await nextTurn();
      expect(threads).toHaveLength(2);
    } finally {
      process.off('worker', note);
    }
  });

  const bundles: { [format in 'esm' | 'cjs']?: Promise<string> } = {};
  async function bundle(format: 'esm' | 'cjs'): Promise<string> {
    const outcome = await build({
      entryPoints: [fileURLToPath(new URL('../../../src/sync/index.ts', import.meta.url))],
      bundle: true,
      format,
      platform: 'node',
      write: false,
      logLevel: 'silent',
    });
    return outcome.outputFiles[0]!.text;
  }

  /** `/sync` as a bundler leaves it: one file, and the worker's file beside it. */
  async function bundled(
    format: 'esm' | 'cjs',
    thread: string | undefined,
    use: (module: { RateLimiterSync: typeof FromSources }) => void,
  ): Promise<void> {
    bundles[format] ??= bundle(format);
    const made = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-bundle-'));
    // Node itself imports packages. Vite would transform the bundle of 60,000 lines for each test.
    const folder = path.join(made, 'node_modules/bundled');
    mkdirSync(folder, { recursive: true });
    try {
      const file = path.join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
      writeFileSync(file, await bundles[format]);
      if (thread !== undefined) {
        writeFileSync(path.join(folder, 'limiter-thread.js'), thread);
      }
      use(await import(pathToFileURL(file).href));
    } finally {
      rmSync(made, { recursive: true, force: true });
    }
  }

  test.each(['esm', 'cjs'] as const)(
    "without the thread's file beside a bundle (%s), the constructor names the cure",
    (format) =>
      bundled(format, undefined, (module) => {
        expect(
          thrownBy(() => new module.RateLimiterSync({ redis: redis.url, rate: 1, period: '1s' })),
        ).toMatchObject({
          code: 'ERR_WORKER_MISSING',
          message: expect.stringContaining('as an external'),
        });
      }),
  );

  test.each<[how: string, thread: string, cause: unknown]>([
    ['cannot be parsed', 'export export', { message: expect.any(String) }],
    ['misses a file', "require('./missing.js');", { code: 'MODULE_NOT_FOUND' }],
    ['throws while it loads', "throw new Error('loading');", { message: 'loading' }],
    ['throws undefined', 'throw undefined;', { message: 'undefined' }],
    [
      'throws while it starts',
      "exports.start = () => { throw new Error('starting'); };",
      { message: 'starting' },
    ],
    ['is another program', 'exports.other = 1;', { message: expect.stringContaining('start') }],
    ['ends at once', 'process.exit(0);', undefined],
    ['ends while it starts', 'exports.start = () => process.exit(1);', undefined],
    ['never reports that it is ready', 'exports.start = () => {};', undefined],
  ])(
    'a thread file that %s causes ERR_WORKER_MISSING under every failStrategy',
    async (_, thread, cause) => {
      await bundled('esm', thread, (module) => {
        for (const failStrategy of ['open', 'closed', 'throw'] as const) {
          const onError = vi.fn<(error: StoreError) => void>();
          const limiter = new module.RateLimiterSync({
            redis: redis.url,
            rate: 1,
            period: '1s',
            failStrategy,
            onError,
          });
          for (const call of [
            () => limiter.allow('user'),
            () => limiter.peek('user'),
            () => limiter.reset('user'),
          ]) {
            const error = thrownBy(call);
            expect(error).toMatchObject({
              code: 'ERR_WORKER_MISSING',
              message: expect.stringContaining('as an external'),
              ...(cause === undefined ? {} : { cause }),
            });
            expect(error).not.toBeInstanceOf(StoreError);
          }
          expect(onError).not.toHaveBeenCalled();
          limiter.close();
        }
      });
    },
  );
});

test('close() makes later calls throw, may be repeated, and is called by `using`', () => {
  let kept: FromSources;
  {
    using limiter = sync({ namespace: 'closing' });
    expect(limiter.allow('user').allowed).toBe(true);
    kept = limiter;
  }
  for (const call of [
    () => kept.allow('user'),
    () => kept.peek('user'),
    () => kept.reset('user'),
  ]) {
    expect(thrownBy(call)).toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  }
  kept.close();
});

describe('invalid options are refused at construction, with the messages of RateLimiter', () => {
  const right = { redis: 'redis://localhost', rate: 5, period: '1m' };

  test.each<readonly [string, unknown]>([
    ['missing options', undefined],
    ['a number as options', 5],
    ['a misspelt name', { ...right, ratee: 5 }],
    ['an option name of another library', { ...right, windowMs: 5 }],
    ['rate: -1', { ...right, rate: -1 }],
    ['period: 1x', { ...right, period: '1x' }],
    ['a missing redis', { rate: 5, period: '1m' }],
    ['an HTTP URL as redis', { ...right, redis: 'http://localhost' }],
    ['an invalid namespace', { ...right, namespace: 'a b' }],
    ['an unknown algorithm', { ...right, algorithm: 'leaky' }],
    ['an unknown failStrategy', { ...right, failStrategy: 'maybe' }],
    ['a timeoutMs of 0', { ...right, timeoutMs: 0 }],
    ['a short hashSecret', { ...right, hashSecret: 'short' }],
    ['a hook that is not a function', { ...right, onAllow: 5 }],
    ['limits beside rate', { ...right, limits: [{ rate: 5, period: '1m' }] }],
    ['an empty list of limits', { redis: 'redis://localhost', limits: [] }],
    ['limits that are not an array', { redis: 'redis://localhost', limits: 5 }],
  ])('refuses %s', (_, options) => {
    const theirs = thrownBy(
      () =>
        new RateLimiter(
          (options as { limits?: unknown[] } | undefined)?.limits?.length === 1
            ? ({
                ...(options as object),
                limits: [tokenBucket({ rate: 5, period: '1m' })],
              } as never)
            : (options as never),
        ),
    );
    const error = thrownBy(() => new RateLimiterSync(options as never));
    expect(error).toBeInstanceOf(RateLimiterError);
    expect((error as Error).message).toBe((theirs as Error).message);
  });

  test.each<readonly [string, object, RegExp]>([
    ['a store', { store: {} }, /`store` must be left out here/],
    ['a client', { redis: {} }, /`redis` must be a URL here, got an object/],
    ['maxInFlight', { maxInFlight: 5 }, /`maxInFlight` must be left out here/],
    [
      'a limit object',
      { rate: undefined, period: undefined, limits: [tokenBucket({ rate: 5, period: '1m' })] },
      /`limits` must be made of plain objects here/,
    ],
    [
      'a wrong number in a limit',
      { rate: undefined, period: undefined, limits: [{ rate: -1, period: '1m' }] },
      /`rate` must be a whole number/,
    ],
    [
      'a misspelt name in a limit',
      { rate: undefined, period: undefined, limits: [{ rate: 1, perid: '1m' }] },
      /`perid` is not an option of tokenBucket.*`period`/,
    ],
    [
      'an unknown algorithm in a limit',
      { rate: undefined, period: undefined, limits: [{ algorithm: 'leaky', rate: 1 }] },
      /`algorithm` must be one of/,
    ],
  ])('refuses what cannot be passed to another thread: %s', (_, options, message) => {
    expect(() => new RateLimiterSync({ ...right, ...options } as never)).toThrow(message);
  });
});
