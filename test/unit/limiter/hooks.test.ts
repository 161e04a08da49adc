import { AsyncLocalStorage } from 'node:async_hooks';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { Decision, Identity, StoreError } from 'distributed-rate-limiter';
import { describe, expect, test } from 'vitest';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

const warnings = collectWarnings();

/** Called under another name, so that a hook may return values that its type forbids. */
// oxlint-disable-next-line unicorn/no-thenable -- what a hook returns is not ours to choose
const THEN = 'then';

/** Records every call of a hook, in order. */
function recorder() {
  const heard: [hook: string, identity: Identity, decision: Decision][] = [];
  const errors: StoreError[] = [];
  return {
    heard,
    errors,
    hooks: {
      onAllow: (identity: Identity, decision: Decision) => {
        heard.push(['onAllow', identity, decision]);
      },
      onBlock: (identity: Identity, decision: Decision) => {
        heard.push(['onBlock', identity, decision]);
      },
      onError: (error: StoreError) => {
        errors.push(error);
      },
    },
  };
}

describe('onAllow and onBlock', () => {
  test('calls exactly one of them per allow, with the identity as passed and the decision itself', async () => {
    const { heard, errors, hooks } = recorder();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 2, period: '1h', ...hooks });
    const pair = ['org', 'user'];
    const decisions = [
      await limiter.allow('user'),
      await limiter.allow('user', { cost: 2 }),
      await limiter.allow('user', { cost: 3 }),
      await limiter.allow(pair),
    ];
    expect(heard).toEqual([
      ['onAllow', 'user', expect.objectContaining({ reason: 'within_limit' })],
      ['onBlock', 'user', expect.objectContaining({ reason: 'limited' })],
      ['onBlock', 'user', expect.objectContaining({ reason: 'impossible' })],
      ['onAllow', pair, expect.objectContaining({ reason: 'within_limit' })],
    ]);
    heard.forEach(([, , decision], i) => expect(decision).toBe(decisions[i]));
    expect(heard[3]![1]).toBe(pair);
    expect(errors).toEqual([]);
  });

  test.each([
    ['open', 'onAllow'],
    ['closed', 'onBlock'],
  ] as const)('under failStrategy %s a degraded decision calls %s', async (failStrategy, hook) => {
    const { heard, errors, hooks } = recorder();
    const redis = new FakeRedis('away');
    const limiter = new RateLimiter({ redis, rate: 2, period: '1h', failStrategy, ...hooks });
    const decision = await limiter.allow('user');
    expect(heard).toEqual([[hook, 'user', decision]]);
    expect(errors).toHaveLength(1);
  });

  test('calls neither for peek, reset, ready and rejected calls', async () => {
    const { heard, hooks } = recorder();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h', ...hooks });
    await limiter.ready();
    await limiter.peek('user');
    await limiter.reset('user');
    await expect(limiter.allow('')).rejects.toThrow(/`identity`/);
    const away = new FakeRedis('away');
    const strict = new RateLimiter({
      redis: away,
      rate: 1,
      period: '1h',
      failStrategy: 'throw',
      ...hooks,
    });
    await expect(strict.allow('user')).rejects.toMatchObject({ code: 'ERR_STORE_AWAY' });
    expect(heard).toEqual([]);
  });
});

describe("a reservation's `add`", () => {
  const held = { cost: 1, ttl: '1m' } as const;

  test('calls exactly one of them, with the identity of the reservation and the decision itself', async () => {
    const { heard, errors, hooks } = recorder();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h', ...hooks });
    const pair = ['org', 'user'];
    const reservation = await limiter.reserve(pair, held);
    heard.length = 0;
    const decisions = [
      await reservation.add(2),
      await reservation.add(3),
      await reservation.add(6),
      await reservation.add(0),
    ];
    expect(heard).toEqual([
      ['onAllow', pair, expect.objectContaining({ reason: 'within_limit', cost: 2 })],
      ['onBlock', pair, expect.objectContaining({ reason: 'limited' })],
      ['onBlock', pair, expect.objectContaining({ reason: 'impossible' })],
      ['onAllow', pair, expect.objectContaining({ cost: 0 })],
    ]);
    heard.forEach(([, identity, decision], i) => {
      expect(identity).toBe(pair);
      expect(decision).toBe(decisions[i]);
    });
    expect(errors).toEqual([]);
  });

  test('calls neither where no reservation is held, nor for a cost that is refused', async () => {
    const { heard, hooks } = recorder();
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h', ...hooks });
    const reservation = await limiter.reserve('user', held);
    heard.length = 0;
    await expect(reservation.add(-1)).rejects.toMatchObject({ code: 'ERR_INVALID_COST' });
    await reservation.settle(1);
    expect(await reservation.add(1)).toMatchObject({ reason: 'not_held' });
    await reservation.cancel();
    expect(heard).toEqual([]);
  });

  test('calls onAllow, and counts, where the reservation itself was made without the store', async () => {
    const { heard, errors, hooks } = recorder();
    const redis = new FakeRedis('away');
    const limiter = new RateLimiter({ redis, rate: 5, period: '1h', ...hooks });
    const reservation = await limiter.reserve('user', held);
    await reservation.add(1);
    expect(heard.map(([hook]) => hook)).toEqual(['onAllow', 'onAllow']);
    expect(errors, 'nothing more was sent').toHaveLength(1);
    expect(limiter.stats().decisions.allowed).toMatchObject({ store_away: 2 });
    const unlimited = await limiter.reserve('user', { ...held, limits: [] });
    await unlimited.add(1);
    expect(heard).toHaveLength(4);
    expect(limiter.stats().decisions.allowed).toMatchObject({ unlimited: 2 });
  });
});

describe('onError', () => {
  test('is called once per failed store call, however many callers waited for it', async () => {
    const { heard, errors, hooks } = recorder();
    const redis = new FakeRedis();
    redis.respond = () => {
      throw new ReplyError('OOM command not allowed');
    };
    const limiter = new RateLimiter({ redis, rate: 2, period: '1h', ...hooks });
    const turn = () => Promise.all(Array.from({ length: 100 }, (_, i) => limiter.allow(`u${i}`)));
    const first = await turn();
    await turn();
    expect(redis.sends).toHaveLength(2);
    expect(heard).toHaveLength(200);
    expect(errors.map(({ code, reason, message }) => ({ code, reason, message }))).toEqual(
      [1, 2].map(() => ({
        code: 'ERR_STORE',
        reason: 'store_error',
        message: 'Redis refused: OOM.',
      })),
    );
    expect(errors[0]!.cause).toMatchObject({ message: 'OOM command not allowed' });
    for (const decision of first) {
      expect(decision).toMatchObject({ degraded: true, allowed: true, reason: 'store_error' });
      expect(decision.degraded && decision.error).toBe(errors[0]);
    }
  });

  test('is called once per outage of the connection', async () => {
    const { errors, hooks } = recorder();
    const redis = new FakeRedis('away');
    const limiter = new RateLimiter({ redis, rate: 9, period: '1h', ...hooks });
    for (let i = 0; i < 5; i++) await limiter.allow('user');
    expect(errors).toHaveLength(1);
    redis.become('ready');
    expect(await limiter.allow('user')).toMatchObject({ degraded: false });
    redis.become('away');
    for (let i = 0; i < 5; i++) await limiter.allow('user');
    expect(errors.map(({ reason }) => reason)).toEqual(['store_away', 'store_away']);
  });

  test('is called for each limiter on a client', async () => {
    const [one, other] = [recorder(), recorder()];
    const redis = new FakeRedis('away');
    const limiters = [one, other].map(
      ({ hooks }, i) =>
        new RateLimiter({ redis, rate: 1, period: '1h', namespace: `n${i}`, ...hooks }),
    );
    await Promise.all(limiters.map((limiter) => limiter.allow('user')));
    expect([one.errors, other.errors].map(({ length }) => length)).toEqual([1, 1]);
    expect(one.errors[0]).toBe(other.errors[0]);
  });

  test('is called for a failed reset and a failed ready', async () => {
    const { errors, hooks } = recorder();
    const redis = new FakeRedis();
    redis.respond = () => {
      throw new ReplyError('NOPERM this user has no permissions');
    };
    const limiter = new RateLimiter({ redis, rate: 1, period: '1h', ...hooks });
    await expect(limiter.reset('user')).rejects.toMatchObject({ reason: 'store_error' });
    await expect(limiter.ready()).rejects.toMatchObject({ message: 'Redis refused: NOPERM.' });
    expect(errors).toHaveLength(2);
  });
});

describe('a hook that fails', () => {
  const failing = {
    throws: () => {
      throw new Error('from the hook');
    },
    rejects: () => Promise.reject(new Error('from the hook')) as unknown as void,
    'is a thenable that rejects': () =>
      Object.defineProperty({}, THEN, {
        value: (_: unknown, reject: (error: Error) => void) => reject(new Error('later')),
      }) as unknown as void,
    'is a thenable that throws': () =>
      Object.defineProperty({}, THEN, {
        get: () => {
          throw new Error('from the getter');
        },
      }) as unknown as void,
  };

  test.each(Object.entries(failing))(
    'that %s changes no decision, leaks no rejection and warns once per hook',
    async (_, hook) => {
      const leaked: unknown[] = [];
      const note = (reason: unknown): void => {
        leaked.push(reason);
      };
      process.on('unhandledRejection', note);
      const redis = new FakeRedis();
      const limiter = new RateLimiter({
        redis,
        rate: 2,
        period: '1h',
        onAllow: hook,
        onBlock: hook,
        onError: hook,
      });
      const allowed: boolean[] = [];
      for (let i = 0; i < 5; i++) allowed.push((await limiter.allow('user')).allowed);
      redis.become('away');
      for (let i = 0; i < 3; i++) allowed.push((await limiter.allow('user')).allowed);
      const warned = await warnings();
      process.off('unhandledRejection', note);

      expect(allowed).toEqual([true, true, false, false, false, true, true, true]);
      expect(leaked).toEqual([]);
      expect(warned.map(({ name, code }) => ({ name, code }))).toEqual(
        [1, 2, 3].map(() => ({ name: 'RateLimiterWarning', code: 'DRL_HOOK_FAILED' })),
      );
      expect(warned.map(({ message }) => /`(\w+)`/.exec(message)?.[1])).toEqual([
        'onAllow',
        'onBlock',
        'onError',
      ]);
      expect(warned.map(({ message }) => message).join()).not.toContain('user');
    },
  );
});

describe('asynchronous context', () => {
  const request = new AsyncLocalStorage<string>();

  test("is the caller's own in its hooks and after its await, whatever batch carried the call", async () => {
    const seen: string[] = [];
    const redis = new FakeRedis();
    const limiter = new RateLimiter({
      redis,
      rate: 1,
      period: '1h',
      onAllow: (identity) => {
        seen.push(`allow ${String(identity)} ${request.getStore()}`);
      },
      onBlock: (identity) => {
        seen.push(`block ${String(identity)} ${request.getStore()}`);
      },
    });
    const call = (name: string, identity: string) =>
      request.run(name, async () => {
        await limiter.allow(identity);
        seen.push(`after ${identity} ${request.getStore()}`);
      });
    await Promise.all([call('first', 'a'), call('second', 'b'), call('third', 'a')]);
    expect(redis.sends).toHaveLength(1);
    expect(seen.toSorted()).toEqual([
      'after a first',
      'after a third',
      'after b second',
      'allow a first',
      'allow b second',
      'block a third',
    ]);
  });

  test("is the caller's own in the hook of an `add` that waits for another", async () => {
    const seen: unknown[] = [];
    const limiter = new RateLimiter({
      redis: new FakeRedis(),
      rate: 9,
      period: '1h',
      onAllow: () => seen.push(request.getStore()),
    });
    const reservation = await limiter.reserve('a', { cost: 1, ttl: '1m' });
    await Promise.all(
      ['first', 'second'].map((name) => request.run(name, () => reservation.add(1))),
    );
    expect(seen).toEqual([undefined, 'first', 'second']);
  });

  test('does not reach the shared send', async () => {
    const seen: (string | undefined)[] = [];
    const redis = new FakeRedis();
    redis.respond = (send) => {
      seen.push(request.getStore());
      return redis.run(send);
    };
    const limiter = new RateLimiter({ redis, rate: 1, period: '1h' });
    await request.run('a request', () => limiter.allow('user'));
    expect(seen).toEqual([undefined]);
  });
});
