import {
  concurrency,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  StoreError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, RateLimiterOptions } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { limited, RateLimitExceeded } from 'distributed-rate-limiter/limited';
import type { LimitedFunction, LimitedOptions } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test, vi } from 'vitest';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { secondCopy } from '../../kit/fakes/second-copy.ts';
import { eventually } from '../../kit/fakes/eventually.ts';

const two = { rate: 2, period: '10s' } as const;
const onePlace = { algorithm: 'concurrency', max: 1, ttl: '10s' } as const;

function memory(clock = new ManualClock()): MemoryStore {
  return new MemoryStore({ clock });
}

/** The reason with which a refused call rejects. */
async function refusalOf(call: Promise<unknown>): Promise<RateLimitExceeded> {
  const error = await refusedBy(call);
  expect(error).toBeInstanceOf(RateLimitExceeded);
  return error as RateLimitExceeded;
}

/** The reason with which a call rejects. */
function refusedBy(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'the call passed',
    (error: unknown) => error,
  );
}

const later = <T>(value: T): Promise<T> => new Promise((resolve) => setImmediate(resolve, value));

/** Work that lasts until the test ends it. */
function openEnded(): { work: () => Promise<string>; end: () => void; begun: () => number } {
  const ends: (() => void)[] = [];
  return {
    work: () => new Promise((resolve) => ends.push(() => resolve('done'))),
    end: () => ends.splice(0).forEach((done) => done()),
    begun: () => ends.length,
  };
}

describe('a limiter of another copy of the package', () => {
  test('lets calls pass, refuses them and holds places', async () => {
    const other = await secondCopy();
    expect(other.RateLimiter).not.toBe(RateLimiter);
    const foreign = new other.RateLimiter({ store: new other.MemoryStore(), ...two });
    const rated = limited(() => 'done', { limiter: foreign, identify: 'user', cost: 2 });
    expect(rated.limiter).toBe(foreign);
    expect(await rated()).toBe('done');
    expect(await refusalOf(rated())).toHaveProperty('decision.reason', 'limited');
    const { work, end, begun } = openEnded();
    const lending = limited(work, {
      limiter: foreign,
      identify: 'user',
      limits: [other.concurrency({ name: 'places', max: 1, ttl: '1m' })],
    });
    const first = lending();
    await eventually(() => expect(begun()).toBe(1));
    await refusalOf(lending());
    end();
    expect(await first).toBe('done');
  });

  test('is checked when the function is made, like one of this copy', async () => {
    const other = await secondCopy();
    const foreign = new other.RateLimiter({ store: new other.MemoryStore(), ...two });
    const identify = 'user';
    expect(() => limited(() => 1, { limiter: foreign, identify, cost: 3 })).toThrow('at most 2');
    expect(() => limited(() => 1, { limiter: foreign, identify, heartbeat: true })).toThrow(
      '`heartbeat` must be left out',
    );
  });
});

describe('an admitted call', () => {
  test('passes arguments, `this` and the result through, of async and sync functions', async () => {
    const options = { limiter: { store: memory(), ...two, burst: 9 }, identify: 'all' };
    async function join(this: { mark: string }, a: string, b: number): Promise<string> {
      return later(`${this.mark}${a}${b}`);
    }
    const asynchronous = { mark: '#', join: limited(join, options) };
    expect(await asynchronous.join('a', 1)).toBe('#a1');
    expect(await limited((a: number, b: number) => a + b, options)(1, 2)).toBe(3);
    expect(await limited(() => undefined, options)()).toBeUndefined();
  });

  test.each([
    ['rejects', () => Promise.reject(new RangeError('mine'))],
    [
      'throws',
      () => {
        throw new RangeError('mine');
      },
    ],
  ])('passes its error through unchanged from a function that %s', async (_, fails) => {
    const error: unknown = await limited(fails, {
      limiter: { store: memory(), ...two },
      identify: 'all',
    })().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(RangeError);
    expect(error).not.toBeInstanceOf(RateLimiterError);
    expect(error).toMatchObject({ message: 'mine' });
  });

  test('charges its cost to its identity, both computed from the arguments and `this`', async () => {
    const limiter = new RateLimiter({ store: memory(), rate: 10, period: '1m' });
    const service = {
      tenant: 'acme',
      load: limited(
        function load(this: { tenant: string }, user: string, rows: string[]) {
          return `${this.tenant} ${user} ${rows.length}`;
        },
        {
          limiter,
          identify(user) {
            return [this.tenant, user];
          },
          cost: (_, rows) => rows.length,
        },
      ),
    };
    expect(await service.load('u', ['a', 'b', 'c'])).toBe('acme u 3');
    expect((await limiter.peek(['acme', 'u'])).remaining).toBe(7);
    expect((await limiter.peek(['acme', 'v'])).remaining).toBe(10);
  });

  test('identifies by named parts where limits say `by`, checked at once if they are constant', async () => {
    const limiter = new RateLimiter({
      store: memory(),
      limits: [
        tokenBucket({ name: 'org', by: 'org', rate: 3, period: '1h' }),
        tokenBucket({ name: 'user', by: ['org', 'user'], rate: 2, period: '1h' }),
      ],
    });
    const run = limited((user: number) => user, {
      limiter,
      identify: (user) => ({ org: 'acme', user }),
    });
    expect([await run(1), await run(1), await run(2)]).toEqual([1, 1, 2]);
    expect((await refusalOf(run(2))).decision).toMatchObject({ limitedBy: ['org'] });
    const constant = limited(() => 1, { limiter, identify: { org: 'b', user: null } });
    expect(await constant()).toBe(1);
    expect(() => limited(() => 1, { limiter, identify: { org: 'b' } as never })).toThrow(
      '`identity.user` must be given',
    );
    expect(() => limited(() => 1, { limiter, identify: 'b' as never })).toThrow('named parts');
  });

  test('awaits `identify`, `cost` and `limits`, and accepts a constant identity of several parts', async () => {
    const limiter = new RateLimiter({ store: memory(), rate: 10, period: '1m' });
    await limited(() => 1, { limiter, identify: () => later('u'), cost: () => later(4) })();
    expect((await limiter.peek('u')).remaining).toBe(6);
    await limited(() => 1, { limiter, identify: ['acme', 'u'], cost: 5 })();
    expect((await limiter.peek(['acme', 'u'])).remaining).toBe(5);
    const small = [tokenBucket({ rate: 1, period: '1m' })];
    const call = limited(() => 1, { limiter, identify: 'v', limits: () => later(small) });
    await call();
    await refusalOf(call());
  });

  test("asks `limits` for each call, and undefined means the limiter's own", async () => {
    const plans: Record<string, RateLimiter['limits']> = {
      free: [tokenBucket({ rate: 1, period: '1m' })],
      paid: [tokenBucket({ rate: 3, period: '1m' })],
    };
    const call = limited((plan: string) => plan, {
      limiter: { store: memory(), ...two },
      identify: (plan) => plan,
      limits: (plan) => plans[plan],
    });
    const passed = async (plan: string): Promise<number> => {
      const calls = await Promise.allSettled(Array.from({ length: 5 }, () => call(plan)));
      return calls.filter(({ status }) => status === 'fulfilled').length;
    };
    expect([await passed('free'), await passed('paid'), await passed('none')]).toEqual([1, 3, 2]);
  });

  test('keeps name and length of the function, for traces', () => {
    function renew(_a: string, _b: string): void {}
    const options = { limiter: new RateLimiter({ store: memory(), ...two }), identify: 'all' };
    expect(limited(renew, options).name).toBe('renew');
    expect(limited(renew, options)).toHaveLength(2);
    expect(limited(renew, options).limiter).toBe(options.limiter);
  });
});

describe('a refused call', () => {
  test('does not run the function, and passes after its retryAfterMs', async () => {
    const clock = new ManualClock();
    const fn = vi.fn<() => string>(() => 'ran');
    const call = limited(fn, { limiter: { store: memory(clock), ...two }, identify: 'user' });
    await call();
    await call();
    const error = await refusalOf(call());
    expect(fn).toHaveBeenCalledTimes(2);
    expect(error).toMatchObject({
      name: 'RateLimitExceeded',
      code: 'ERR_RATE_LIMIT_EXCEEDED',
      message: "Refused by the limit 'default'. Try again in 5000 ms.",
      retryAfterMs: 5_000,
      decision: { allowed: false, degraded: false, reason: 'limited', retryAfterMs: 5_000 },
    });
    expect(error.cause).toBeUndefined();
    clock.advance('4999ms');
    await refusalOf(call());
    clock.advance('1ms');
    expect(await call()).toBe('ran');
  });

  test('rejects with an error of this library', async () => {
    const call = limited(() => 1, {
      limiter: { store: memory(), rate: 1, period: '1m' },
      identify: 'user',
    });
    await call();
    const error = await refusalOf(call());
    expect(error).toBeInstanceOf(RateLimiterError);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(StoreError);
    expect(error.stack).toMatch(/^RateLimitExceeded: /);
  });

  test('is recognised across two copies of the package', async () => {
    const copy = '../../../src/limiter/rate-limit-exceeded.ts?copy';
    const other: { RateLimitExceeded: typeof RateLimitExceeded } = await import(copy);
    expect(other.RateLimitExceeded).not.toBe(RateLimitExceeded);
    const decision = {
      allowed: false,
      degraded: false,
      reason: 'impossible',
      limits: [],
      maxCost: 1,
    };
    const error = new other.RateLimitExceeded(decision as never);
    expect(error).toBeInstanceOf(RateLimitExceeded);
    expect(new RateLimiterError('ERR_STORE', 'x')).not.toBeInstanceOf(RateLimitExceeded);
    expect(null).not.toBeInstanceOf(RateLimitExceeded);
  });

  test('has no retryAfterMs when its cost is impossible', async () => {
    const call = limited((n: number) => n, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      cost: (n) => n,
    });
    const error = await refusalOf(call(3));
    expect(error.decision).toMatchObject({ reason: 'impossible', maxCost: 2 });
    expect(error.retryAfterMs).toBeUndefined();
    expect(error.message).toContain('which is 2');
  });

  test('rejects when its identity is blocked', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two, blocks: true });
    await limiter.block('user', '15m');
    const error = await refusalOf(limited(() => 1, { limiter, identify: 'user' })());
    expect(error).toMatchObject({ retryAfterMs: 900_000, decision: { reason: 'blocked' } });
  });

  test("is degraded without the store under failStrategy closed, with the store's error as cause", async () => {
    const fn = vi.fn<() => void>();
    const call = limited(fn, {
      limiter: { redis: new FakeRedis('away'), ...two, failStrategy: 'closed' },
      identify: 'user',
    });
    const error = await refusalOf(call());
    expect(error.decision).toMatchObject({ degraded: true, reason: 'store_away' });
    expect(error.cause).toBeInstanceOf(StoreError);
    expect(error.cause).toMatchObject({ code: 'ERR_STORE_AWAY' });
    expect(error.retryAfterMs).toBeUndefined();
    expect(fn).not.toHaveBeenCalled();
  });

  test('runs the function without the store under failStrategy open, and rejects under throw', async () => {
    const call = (failStrategy: 'open' | 'throw') =>
      limited(() => 'ran', {
        limiter: { redis: new FakeRedis('away'), ...two, failStrategy },
        identify: 'user',
      })();
    expect(await call('open')).toBe('ran');
    const error: unknown = await call('throw').catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(StoreError);
    expect(error).not.toBeInstanceOf(RateLimitExceeded);
  });
});

describe('an invalid call rejects unchanged and does not run the function', () => {
  test.each([
    ['an empty identity', { identify: () => '' }, 'ERR_INVALID_IDENTITY'],
    ['a fraction as identity', { identify: () => 0.5 }, 'ERR_INVALID_IDENTITY'],
    ['a negative cost', { cost: () => -1 }, 'ERR_INVALID_COST'],
    ['an undefined cost', { cost: () => undefined }, 'ERR_INVALID_COST'],
    ['too many limits', { limits: () => Array(17).fill(0) }, 'ERR_INVALID_OPTION'],
    ['limits that are not an array', { limits: () => 'paid' }, 'ERR_INVALID_OPTION'],
    [
      'concurrency limits beside wait',
      { limits: () => [concurrency({ max: 1, ttl: '1s' })], wait: true },
      'ERR_INVALID_OPTION',
    ],
  ])('rejects %s', async (_, options, code) => {
    const fn = vi.fn<() => void>();
    const call = limited(fn, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      ...options,
    } as unknown as LimitedOptions<unknown, []>);
    await expect(call()).rejects.toMatchObject({ code });
    expect(fn).not.toHaveBeenCalled();
  });

  test.each(['identify', 'cost', 'limits'])('rejects when %s throws', async (option) => {
    const fn = vi.fn<() => void>();
    const call = limited(fn, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      [option]: () => {
        throw new RangeError('mine');
      },
    });
    await expect(call()).rejects.toThrow(RangeError);
    expect(fn).not.toHaveBeenCalled();
  });

  test('rejects after close', async () => {
    const call = limited(() => 1, { limiter: { store: memory(), ...two }, identify: 'user' });
    await call.limiter.close();
    await expect(call()).rejects.toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
  });
});

describe('the option `wait`', () => {
  /** Uses real time, because waiting does. */
  const brisk = (): RateLimiterOptions => ({ store: new MemoryStore(), rate: 1, period: '30ms' });

  test('runs calls in the order in which they were made', async () => {
    const ran: number[] = [];
    const call = limited((n: number) => ran.push(n), {
      limiter: brisk(),
      identify: 'user',
      wait: true,
    });
    await Promise.all([1, 2, 3, 4].map(async (n) => call(n)));
    expect(ran).toEqual([1, 2, 3, 4]);
  });

  test('bounds waiting by time, number and signal, without running the function', async () => {
    const fn = vi.fn<() => void>();
    const slow = { store: memory(), rate: 1, period: '1h' } as const;
    const bounded = (wait: object): LimitedFunction<unknown, [], void> =>
      limited(fn, { limiter: { ...slow, store: memory() }, identify: 'user', wait });
    const late = bounded({ timeoutMs: 100 });
    await late();
    await expect(late()).rejects.toMatchObject({ code: 'ERR_WAIT_TIMEOUT' });

    const controller = new AbortController();
    const ended = bounded({ signal: controller.signal });
    await ended();
    const waiting = ended();
    await later(undefined);
    controller.abort(new RangeError('shut down'));
    await expect(waiting).rejects.toThrow('shut down');

    const full = bounded({ maxQueue: 0 });
    await full();
    const first = full();
    await later(undefined);
    await expect(full()).rejects.toMatchObject({ code: 'ERR_WAIT_QUEUE_FULL' });
    const closed = refusedBy(first);
    await full.limiter.close();
    expect(await closed).toMatchObject({ code: 'ERR_LIMITER_CLOSED' });
    expect(fn).toHaveBeenCalledTimes(3);
  });

  test('refuses when false, and when waiting cannot help', async () => {
    const call = limited((cost: number) => cost, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      cost: (cost) => cost,
      wait: false,
    });
    await call(2);
    await refusalOf(call(1));
    const patient = limited((cost: number) => cost, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      cost: (cost) => cost,
      wait: true,
    });
    expect((await refusalOf(patient(3))).decision.reason).toBe('impossible');
  });
});

describe('under a concurrency limit', () => {
  test('holds its place until the function settles', async () => {
    const { work, end } = openEnded();
    const call = limited(work, { limiter: { store: memory(), ...onePlace }, identify: 'user' });
    const running = call();
    await later(undefined);
    const error = await refusalOf(call());
    expect(error.decision).toMatchObject({ reason: 'limited', retryAfterMs: 10_000 });
    end();
    expect(await running).toBe('done');

    const { limiter } = call;
    const fails = limited(
      () => {
        throw new RangeError('mine');
      },
      { limiter, identify: 'user' },
    );
    await expect(fails()).rejects.toThrow('mine');
    await expect(fails()).rejects.toThrow('mine');
    expect((await limiter.peek('user')).remaining).toBe(1);
  });

  test('takes and frees the places of limits given with a call', async () => {
    const limits = [concurrency({ name: 'places', max: 1, ttl: '10s' })];
    const { work, end } = openEnded();
    const call = limited(work, {
      limiter: { store: memory(), ...two },
      identify: 'user',
      limits,
      heartbeat: true,
    });
    const running = call();
    await later(undefined);
    await refusalOf(call());
    end();
    await running;
    expect((await call.limiter.peek('user', { limits })).remaining).toBe(1);
  });

  test('keeps the place beyond its ttl only with a heartbeat', async () => {
    const { work, end } = openEnded();
    for (const [heartbeat, remaining] of [
      [true, 0],
      [false, 1],
    ] as const) {
      const clock = new ManualClock();
      const call = limited(work, {
        limiter: { store: memory(clock), ...onePlace },
        identify: 'user',
        heartbeat,
      });
      const running = call();
      await eventually(async () => {
        expect((await call.limiter.peek('user')).remaining).toBe(0);
      });
      for (let i = 0; i < 5; i++) {
        clock.advance('4s');
        await later(undefined);
      }
      expect((await call.limiter.peek('user')).remaining).toBe(remaining);
      end();
      expect(await running, 'a lease that is gone masks no result').toBe('done');
    }
  });

  test('hides neither a result nor an error when the release fails', async () => {
    const onError = vi.fn<() => void>();
    const redis = new FakeRedis();
    const call = limited(
      (fails: boolean) => {
        redis.become('away');
        if (fails) throw new RangeError('mine');
        return 'ran';
      },
      { limiter: { redis, ...onePlace, max: 9, onError }, identify: 'user' },
    );
    // The fake server's answer to a call for a place: [now, places taken, when the last lease ends, 1 if a place is
    // free].
    redis.respond = () => [redis.nowMicros, 8, 10_000_000, 1];
    expect(await call(false)).toBe('ran');
    expect(onError).toHaveBeenCalledTimes(1);
    redis.become('ready');
    await expect(call(true)).rejects.toThrow('mine');
    expect(onError).toHaveBeenCalledTimes(2);
  });
});

describe('invalid options are refused when the function is made', () => {
  const limiter = new RateLimiter({ store: memory(), ...two });
  const lending = new RateLimiter({ store: memory(), namespace: 'lending', ...onePlace });

  test.each<readonly [string, Record<string, unknown>, RegExp]>([
    [
      'a missing limiter',
      { limiter: undefined },
      /`limiter` must be a RateLimiter, or the options/,
    ],
    ['a text as limiter', { limiter: 'redis://localhost' }, /`limiter` must be a RateLimiter/],
    ['invalid options of a limiter', { limiter: { store: memory(), rate: -1 } }, /`rate` must be/],
    [
      'a missing identify',
      { identify: undefined },
      /`identify` must be a function .*got undefined/,
    ],
    ['a boolean as identify', { identify: true }, /`identify` must be a function .*got true/],
    ['an empty identity', { identify: '' }, /`identity` must be a non-empty .*an empty string/],
    ['an identity with an empty part', { identify: ['a', ''] }, /`identity\[1\]` must be/],
    [
      'an option name of another library',
      { key: () => 'a' },
      /`key` is not an option of limited.*`identify`/,
    ],
    ['a misspelt name', { hearbeat: true }, /`hearbeat` is not an option.*`heartbeat`/],
    ['cost: -1', { cost: -1 }, /`cost` must be a whole number from 0/],
    ['cost: 1.5', { cost: 1.5 }, /`cost` must be a whole number/],
    ['a cost that can never pass', { cost: 3 }, /`cost` must be at most 2.*got 3/],
    ['too many limits', { limits: Array(17).fill(0) }, /`limits` must be an array of 1 to 16/],
    ['limits of numbers', { limits: [{ rate: 5 }] }, /`limits` must be made of limits/],
    ['wait: 5', { wait: 5 }, /`wait options` must be an object, got 5/],
    [
      'a misspelt option of wait',
      { wait: { timeout: 5 } },
      /`timeout` is not an option of wait.*`timeoutMs`/,
    ],
    ['wait with a cost', { wait: { cost: 5 } }, /`cost` is not an option of wait/],
    [
      'a negative timeoutMs of wait',
      { wait: { timeoutMs: -1 } },
      /`timeoutMs` must be a whole number/,
    ],
    ['an invalid signal of wait', { wait: { signal: 5 } }, /`signal` must be an AbortSignal/],
    ['wait under a concurrency limit', { limiter: lending, wait: true }, /`wait` must be left out/],
    ['heartbeat without a concurrency limit', { heartbeat: true }, /`heartbeat` must be left out/],
    ['heartbeat: 1', { limiter: lending, heartbeat: 1 }, /`heartbeat` must be true or false/],
  ])('refuses %s', (_, options, message) => {
    expect(() => limited(() => 1, { limiter, identify: 'user', ...options })).toThrow(message);
  });

  test('refuses a value that is not a function', () => {
    expect(() => limited(5 as never, { limiter, identify: 'user' })).toThrow(
      /`fn` must be a function, got 5/,
    );
    expect(() => limited(() => 1, undefined as never)).toThrow(
      /`limited options` must be an object/,
    );
  });

  test('ignores later changes of the options', async () => {
    const identify = ['acme', 'user'];
    const limits = [tokenBucket({ rate: 1, period: '1h' })];
    const call = limited(() => 1, { limiter: { store: memory(), ...two }, identify, limits });
    identify[0] = 'other';
    limits.pop();
    await call();
    const refused: Decision = (await refusalOf(call())).decision;
    expect(refused.limits[0]).toMatchObject({ limit: 1 });
    expect((await call.limiter.peek(['other', 'user'])).remaining).toBe(2);
  });
});

test('an unreadable limiter is refused like any other invalid one', () => {
  const limiter = new Proxy(
    {},
    {
      get() {
        throw new Error('looked at');
      },
    },
  ) as RateLimiter;
  const refusal: unknown = expect.objectContaining({
    code: 'ERR_INVALID_OPTION',
    message: expect.stringContaining('`limiter` must be readable') as string,
  });
  expect(() => limited(() => 1, { limiter, identify: 'all' })).toThrow(refusal);
  expect(() => createGuard(limiter)).toThrow(refusal);
});
