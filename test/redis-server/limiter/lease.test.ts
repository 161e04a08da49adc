import { createHash } from 'node:crypto';
import { createHook } from 'node:async_hooks';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  concurrency,
  MemoryStore,
  RateLimiter,
  RateLimiterError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type {
  Decision,
  Duration,
  RateLimiterOptions,
  RedisPort,
  StoreError,
} from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { openResp, RespError, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

const two = { algorithm: 'concurrency', max: 2, ttl: '10s' } as const;

function memory(clock = new ManualClock()): MemoryStore {
  return new MemoryStore({ clock });
}

/** Counts timers made from here on that have neither fired nor been cleared, unreferenced ones as well. */
function watchTimers(): { left(): number } {
  const timers = new Set<number>();
  const hook = createHook({
    init: (id, type) => type === 'Timeout' && timers.add(id),
    destroy: (id) => timers.delete(id),
  }).enable();
  onTestFinished(() => void hook.disable());
  return { left: () => timers.size };
}

describe('acquire', () => {
  test('takes a place, which release frees at once', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two });
    const [a, b, refused] = await Promise.all([1, 2, 3].map(() => limiter.acquire('user')));
    expect([a, b, refused].map((lease) => lease!.allowed)).toEqual([true, true, false]);
    expect(refused).toMatchObject({
      reason: 'limited',
      limitedBy: ['default'],
      retryAfterMs: 10_000,
      remaining: 0,
      limits: [{ algorithm: 'concurrency', limit: 2, remaining: 0, refused: true }],
    });
    expect(await a!.release()).toBe(true);
    expect((await limiter.peek('user')).remaining).toBe(1);
    expect(await a!.release(), 'again').toBe(true);
    expect((await limiter.peek('user')).remaining, 'frees nothing more').toBe(1);
    expect((await limiter.acquire('user')).allowed).toBe(true);
  });

  test('returns a decision whose handle is not listed, copied or compared', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two });
    const lease = await limiter.acquire('user');
    const { resetAtMs } = lease;
    const decision = {
      allowed: true,
      degraded: false,
      reason: 'within_limit',
      source: 'store',
      cost: 1,
      limits: [
        {
          name: 'default',
          algorithm: 'concurrency',
          limit: 2,
          remaining: 1,
          used: 1,
          resetAfterMs: 10_000,
          refused: false,
          shadow: false,
        },
      ],
      limitName: 'default',
      limit: 2,
      remaining: 1,
      used: 1,
      resetAfterMs: 10_000,
      resetAtMs,
    };
    expect({ ...lease }).toEqual(decision);
    expect(JSON.parse(JSON.stringify(lease))).toEqual(decision);
    expect(lease.leaseId).toMatch(/^[\da-f-]{36}$/);
  });

  test('frees its place at the end of its `await using` block', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two });
    {
      await using lease = await limiter.acquire('user');
      expect(lease.allowed).toBe(true);
      expect((await limiter.peek('user')).remaining).toBe(1);
    }
    expect((await limiter.peek('user')).remaining).toBe(2);
  });

  test('ends by itself after its ttl, which renew reports', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ store: memory(clock), ...two });
    const lease = await limiter.acquire('user');
    clock.advance('9s');
    expect(await lease.renew()).toBe(true);
    clock.advance('9s');
    expect((await limiter.peek('user')).remaining).toBe(1);
    clock.advance('1s');
    expect((await limiter.peek('user')).remaining).toBe(2);
    expect(await lease.renew()).toBe(false);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.signal.reason).toMatchObject({ code: 'ERR_LEASE_LOST' });
    expect(await lease.release()).toBe(false);
  });

  test('takes rate limits and places together or none, and release keeps the charge', async () => {
    const limiter = new RateLimiter({
      store: memory(),
      limits: [
        concurrency({ name: 'places', max: 2, ttl: '10s' }),
        tokenBucket({ name: 'rate', rate: 5, period: '1h' }),
      ],
    });
    const units = async (): Promise<(number | undefined)[]> =>
      (await limiter.peek('user')).limits.map(({ remaining }) => remaining);
    const lease = await limiter.acquire('user', { cost: 3 });
    expect(await units()).toEqual([1, 2]);
    const refused = await limiter.acquire('user', { cost: 3 });
    expect(refused).toMatchObject({ allowed: false, limitedBy: ['rate'] });
    expect(await units()).toEqual([1, 2]);
    await lease.release();
    expect(await units()).toEqual([2, 2]);
    expect(await limiter.acquire('user', { cost: 6 })).toMatchObject({
      reason: 'impossible',
      maxCost: 5,
    });
    await limiter.refund(lease);
    expect(await units(), 'refund gives back the units').toEqual([2, 5]);
    await limiter.penalize('user', 4);
    expect(await units(), 'a penalty is for the rate').toEqual([2, 1]);
  });

  test('takes one place whatever the cost when there is no rate limit', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two });
    expect(await limiter.acquire('user', { cost: 1_000 })).toMatchObject({
      allowed: true,
      remaining: 1,
    });
  });

  test('does nothing when refused', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two, max: 1 });
    const lease = await limiter.acquire('user', { heartbeat: true });
    const refused = await limiter.acquire('user', { heartbeat: true });
    expect(refused.leaseId).toBeUndefined();
    expect(await refused.renew()).toBe(false);
    expect(await refused.release()).toBe(false);
    await refused[Symbol.asyncDispose]();
    expect(refused.signal.aborted).toBe(false);
    expect((await limiter.peek('user')).remaining).toBe(0);
    await lease.release();
  });

  test('calls one hook per decision, with the lease', async () => {
    const heard: [string, Decision][] = [];
    const limiter = new RateLimiter({
      store: memory(),
      ...two,
      max: 1,
      onAllow: (_identity, decision) => heard.push(['allow', decision]),
      onBlock: (_identity, decision) => heard.push(['block', decision]),
    });
    const leases = [await limiter.acquire('user'), await limiter.acquire('user')];
    await leases[0]!.release();
    expect(heard).toEqual([
      ['allow', leases[0]],
      ['block', leases[1]],
    ]);
  });

  test('never refuses for a shadow limit, and keeps its lease', async () => {
    const limiter = new RateLimiter({
      store: memory(),
      limits: [concurrency({ max: 1, ttl: '10s', shadow: true })],
    });
    const first = await limiter.acquire('user');
    const second = await limiter.acquire('user');
    expect(second).toMatchObject({ allowed: true, limits: [{ refused: true, shadow: true }] });
    expect(await second.renew()).toBe(true);
    expect(second.signal.aborted).toBe(false);
    await second.release();
    expect((await limiter.peek('user')).limits[0]!.remaining, "the first one's place").toBe(0);
    await first.release();
  });

  test('takes places under the limits of the call, which renew and release use too', async () => {
    const limiter = new RateLimiter({ store: memory(), rate: 5, period: '1m' });
    const limits = [concurrency({ name: 'places', max: 1, ttl: '10s' })];
    const lease = await limiter.acquire('user', { limits });
    expect((await limiter.acquire('user', { limits })).allowed).toBe(false);
    expect(await lease.renew()).toBe(true);
    expect(await lease.release()).toBe(true);
    expect((await limiter.acquire('user', { limits })).allowed).toBe(true);
  });

  test('is refused while its identity is blocked', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two, blocks: true });
    await limiter.block('user', '1m');
    const lease = await limiter.acquire('user');
    expect(lease).toMatchObject({ allowed: false, reason: 'blocked' });
    expect(lease.leaseId).toBeUndefined();
    await limiter.unblock('user');
    expect((await limiter.acquire('user')).allowed).toBe(true);
  });

  test('leaves no lease behind after ready()', async () => {
    const store = memory();
    await new RateLimiter({ store, ...two }).ready();
    expect(store.size).toBe(0);
  });
});

describe('misuse of leases', () => {
  const leased = new RateLimiter({ store: memory(), ...two });
  const rated = new RateLimiter({ store: memory(), rate: 1, period: '1m' });

  test.each([
    ['allow', () => leased.allow('user')],
    ['allowUpTo', () => leased.allowUpTo('user', 2)],
    ['wait', () => leased.wait('user')],
    ['allow with limits of the call', () => rated.allow('user', { limits: [concurrency(two2)] })],
  ])('%s under a concurrency limit fails with a hint to acquire', async (_verb, call) => {
    await expect(call()).rejects.toMatchObject({
      code: 'ERR_LEASE_REQUIRED',
      message: expect.stringContaining('`acquire`'),
    });
  });

  test('acquire without a concurrency limit fails with a hint to allow', async () => {
    await expect(rated.acquire('user')).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining('`allow`'),
    });
  });

  test('refuses invalid options of concurrency limits and of acquire', async () => {
    const make = (options: object): RateLimiter =>
      new RateLimiter({
        store: memory(),
        algorithm: 'concurrency',
        ...options,
      } as RateLimiterOptions);
    const refused: readonly (readonly [object, RegExp])[] = [
      [{ max: 0, ttl: '1s' }, /`max` must be a whole number from 1 to 100000, got 0/],
      [{ max: 1.5, ttl: '1s' }, /`max`/],
      [{ max: 100_001, ttl: '1s' }, /`max`/],
      [{ max: 1 }, /`ttl` must be a duration/],
      [{ max: 1, ttl: 30 }, /`ttl` must be a duration such as '30s', got 30/],
      [{ max: 1, ttl: '0ms' }, /`ttl` must be between 1 ms and 86400000 ms/],
      [{ max: 1, ttl: '25h' }, /`ttl` must be between/],
      [{ rate: 1, ttl: '1s' }, /`rate` is not an option of concurrency.*`max`/],
      [{ max: 1, period: '1s' }, /`period` is not an option of concurrency.*`ttl`/],
      [{ algorithm: 'token_bucket', max: 1, period: '1s' }, /`max` is not an option.*`rate`/],
      [{ algorithm: 'token_bucket', rate: 1, ttl: '1s' }, /`ttl` is not an option.*`period`/],
    ];
    for (const [options, message] of refused) {
      expect(() => make(options)).toThrow(message);
    }
    expect(() => concurrency({ max: 1, ttl: '1s', maxDebt: 1 } as never)).toThrow(/`maxDebt`/);
    await expect(leased.acquire('user', { heartbeat: 1 } as never)).rejects.toThrow(/`heartbeat`/);
    await expect(leased.acquire('')).rejects.toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
    await expect(leased.acquire('user', { cost: -1 })).rejects.toMatchObject({
      code: 'ERR_INVALID_COST',
    });
  });

  test('every lease method rejects after close', async () => {
    const limiter = new RateLimiter({ store: memory(), ...two });
    const lease = await limiter.acquire('user');
    await limiter.close();
    const closed = { code: 'ERR_LIMITER_CLOSED' };
    await expect(limiter.acquire('user')).rejects.toMatchObject(closed);
    await expect(lease.renew()).rejects.toMatchObject(closed);
    await expect(lease.release()).rejects.toMatchObject(closed);
    await lease[Symbol.asyncDispose]();
  });
});

/** Uses real time. */
const onePlace = (ttl: Duration): RateLimiter =>
  new RateLimiter({ store: new MemoryStore(), algorithm: 'concurrency', max: 1, ttl });

const two2 = { max: 2, ttl: '10s' } as const;

describe('a held lease', () => {
  test('a heartbeat keeps a lease past its ttl until it is released', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ store: memory(clock), ...two, max: 1, ttl: '3s' });
    const pass = async (seconds: number): Promise<void> => {
      for (let i = 0; i < seconds; i++) {
        clock.advance('1s');
        await setImmediate();
      }
    };
    const lease = await limiter.acquire('user', { heartbeat: true });
    const { signal } = lease;
    await pass(5);
    expect(signal.aborted).toBe(false);
    expect((await limiter.acquire('user')).allowed).toBe(false);
    expect(await lease.release()).toBe(true);
    expect((await limiter.acquire('user')).allowed).toBe(true);
    await pass(4);
    expect(signal.aborted, 'what was released is not lost').toBe(false);
  });

  test('a lease without a heartbeat is lost at its ttl and aborts its signal', async () => {
    const limiter = onePlace('100ms');
    const before = performance.now();
    const lease = await limiter.acquire('user');
    // No call is made meanwhile: the signal does not wait for one.
    await new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
    expect(performance.now() - before).toBeGreaterThanOrEqual(100);
    expect(lease.signal.reason).toBeInstanceOf(RateLimiterError);
    expect(lease.signal.reason.code).toBe('ERR_LEASE_LOST');
    expect(await lease.renew()).toBe(false);
  });

  test('the signal is aborted in time after a blocked event loop, before any timer fires', async () => {
    const limiter = onePlace('2s');
    const lease = await limiter.acquire('user');
    expect(lease.signal.aborted).toBe(false);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_050);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.signal.reason).toMatchObject({ code: 'ERR_LEASE_LOST' });
  });

  test('a heartbeat detects that its lease was reset', async () => {
    const limiter = onePlace('3s');
    const lease = await limiter.acquire('user', { heartbeat: true });
    await limiter.reset('user');
    await new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
    expect(lease.signal.reason.message).toMatch(/no longer holds it/);
  });

  test('a thousand leases leave no timer behind', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), ...two, max: 100 });
    const timers = watchTimers();
    const round = async (): Promise<void> => {
      const leases = await Promise.all(
        Array.from({ length: 100 }, () => limiter.acquire('user', { heartbeat: true })),
      );
      const aborted = leases.filter(({ signal }) => signal.aborted);
      expect([aborted.length, timers.left() >= 200]).toEqual([0, true]);
      await Promise.all(leases.map((lease) => lease.release()));
    };
    for (let i = 0; i < 10; i++) await round();
    await setImmediate(); // `destroy` is called once the turn is over
    expect(timers.left()).toBe(0);
    expect((await limiter.peek('user')).remaining).toBe(100);
  });

  test('a heartbeat ends with its limiter, at its ttl at the latest', async () => {
    const limiter = onePlace('150ms');
    const timers = watchTimers();
    const lease = await limiter.acquire('user', { heartbeat: true });
    await limiter.close();
    await new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
    await setImmediate();
    expect(timers.left()).toBe(0);
  });
});

describe('leases on a server that answers late or never', () => {
  let redis: RedisServer;
  let connection: Awaited<ReturnType<typeof openResp>>;

  beforeAll(async () => {
    redis = await startRedis();
    connection = await openResp({ path: redis.socketPath });
  });
  afterAll(async () => {
    connection?.close();
    await redis?.close();
  });

  /** A client that can hold back, lose or duplicate replies to the limiter. */
  class Port implements RedisPort {
    readonly state = 'ready';
    /** Holds back the replies from here on, until released; later ones pass. */
    holdBack(): () => void {
      let letGo = (): void => {};
      const gate = new Promise<void>((resolve) => (letGo = resolve));
      this.deliver = async (reply) => {
        await gate;
        return reply;
      };
      return () => {
        this.deliver = (reply) => reply;
        letGo();
      };
    }

    /** Transforms the reply to a send that has run. */
    deliver: (reply: Promise<unknown>) => Promise<unknown> = (reply) => reply;
    twice = false;
    sends = 0;

    onStateChange(): void {
      // The port is always ready.
    }

    send(command: string, args: readonly string[]): Promise<unknown> {
      this.sends += 1;
      const reply = connection.command(command, ...args);
      // Simulates a client that resends a call whose reply was lost: the caller gets the second answer.
      return this.deliver(
        this.twice ? reply.then(() => connection.command(command, ...args)) : reply,
      );
    }

    isReply(error: unknown): boolean {
      return error instanceof RespError;
    }
  }

  let limiters = 0;

  /** `key` is the key of the identity 'user'. */
  function limiterOn(
    port: Port,
    more: Partial<Pick<RateLimiterOptions, 'failStrategy' | 'limits'>> & {
      max?: number;
      ttl?: Duration;
    } = {},
  ): { limiter: RateLimiter; errors: StoreError[]; key: string } {
    const errors: StoreError[] = [];
    limiters += 1;
    const namespace = `lease-${limiters}`;
    const { max = 1, ttl = '1h', limits = [concurrency({ max, ttl })], ...rest } = more;
    const limiter = new RateLimiter({
      redis: port,
      namespace,
      limits,
      timeoutMs: 100,
      onError: (error) => errors.push(error),
      ...rest,
    });
    const digest = createHash('sha256').update('user').digest('hex');
    return { limiter, errors, key: `{${namespace}:concurrency:${digest}}/default:concurrency` };
  }

  const free = async (limiter: RateLimiter): Promise<number | undefined> =>
    (await limiter.peek('user')).remaining;

  test.each(['open', 'closed', 'throw'] as const)(
    'an acquire answered after its deadline frees its place (%s)',
    async (failStrategy) => {
      const port = new Port();
      const { limiter, errors, key } = limiterOn(port, { failStrategy });
      await limiter.ready();
      const letGo = port.holdBack();
      const [acquired] = await Promise.allSettled([limiter.acquire('user', { heartbeat: true })]);
      const lease = acquired.status === 'fulfilled' ? acquired.value : undefined;
      expect([acquired.status, lease?.allowed, lease?.degraded]).toEqual(
        {
          open: ['fulfilled', true, true],
          closed: ['fulfilled', false, true],
          throw: ['rejected', undefined, undefined],
        }[failStrategy],
      );
      expect([lease?.leaseId, await lease?.renew(), await lease?.release()]).toEqual(
        lease ? [undefined, false, false] : [undefined, undefined, undefined],
      );
      expect(await connection.command('ZCARD', key), 'the place is taken').toBe(2);
      letGo();
      await waitUntil(
        'the place to be free',
        async () => (await connection.command('EXISTS', key)) === 0,
      );
      expect(errors).toHaveLength(1);
    },
  );

  test('a late refusal releases nothing', async () => {
    const port = new Port();
    const { limiter } = limiterOn(port);
    const held = await limiter.acquire('user');
    const letGo = port.holdBack();
    const before = port.sends;
    expect((await limiter.acquire('user')).degraded).toBe(true);
    letGo();
    await waitUntil('the server to answer', async () => (await free(limiter)) === 0);
    await sleep(50);
    expect(port.sends - before, 'the acquire and the look').toBe(2);
    expect(await held.release()).toBe(true);
  });

  test('a late answer frees only its own place', async () => {
    const port = new Port();
    const { limiter } = limiterOn(port, { max: 3 });
    const kept = await limiter.acquire('user');
    const letGo = port.holdBack();
    const made = await Promise.all([
      limiter.acquire('user'),
      limiter.peek('user'),
      limiter.acquire('user'),
      limiter.acquire('user'),
      limiter.acquire('other'),
    ]);
    expect(made.map(({ degraded }) => degraded)).toEqual([true, true, true, true, true]);
    letGo();
    await waitUntil('both places to be free', async () => (await free(limiter)) === 2);
    await waitUntil(
      "the other's place to be free",
      async () => (await limiter.peek('other')).remaining === 3,
    );
    expect(await kept.release()).toBe(true);
  });

  test('an acquire that a client sends twice takes one place and is charged once', async () => {
    const port = new Port();
    const { limiter } = limiterOn(port, {
      limits: [
        concurrency({ max: 2, ttl: '10s' }),
        tokenBucket({ name: 'rate', rate: 1, period: '1h' }),
      ],
    });
    await limiter.ready();
    port.twice = true;
    const lease = await limiter.acquire('user');
    expect(lease).toMatchObject({ allowed: true, limits: [{ remaining: 1 }, { remaining: 0 }] });
    expect(await lease.renew()).toBe(true);
    // The second answer: the lease was already released.
    expect(await lease.release()).toBe(false);
    expect((await limiter.peek('user')).limits[0]!.remaining).toBe(2);
  });

  test('a release that was not answered may be retried', async () => {
    const port = new Port();
    const { limiter } = limiterOn(port);
    const lease = await limiter.acquire('user');
    port.deliver = () => new Promise(() => {});
    await expect(lease.release()).rejects.toMatchObject({ code: 'ERR_STORE_TIMEOUT' });
    await lease[Symbol.asyncDispose]();
    port.deliver = (reply) => reply;
    await waitUntil(
      'the server to be asked again',
      async () => !(await limiter.peek('user')).degraded,
    );
    expect(await lease.release(), 'the first one arrived').toBe(false);
    expect(await free(limiter)).toBe(1);
  });

  test("unanswered heartbeats lose the lease by the holder's own clock before Redis expires it", async () => {
    const port = new Port();
    const { limiter, key } = limiterOn(port, { ttl: '3s' });
    const lease = await limiter.acquire('user', { heartbeat: true });
    const { signal, leaseId } = lease;
    const expiresAt = async (): Promise<number> =>
      Number(await connection.command('ZSCORE', key, leaseId!));
    const believedUntil = await expiresAt();
    port.deliver = async (reply) => {
      await reply;
      // The key outlives its leases, so that a busy machine reads it in time.
      await connection.command('PERSIST', key);
      return new Promise(() => {});
    };
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    expect(signal.reason.message).toMatch(/not renewed in time/);
    // Its renewals arrived, though their replies were lost.
    expect(await expiresAt()).toBeGreaterThan(believedUntil);
    port.deliver = (reply) => reply;
    await lease[Symbol.asyncDispose]();
  });
});
