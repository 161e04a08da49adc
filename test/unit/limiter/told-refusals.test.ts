import { describe, expect, test, vi } from 'vitest';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { Clock, Identity, IdentityParts } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { FakeRedis } from '../../kit/fakes/fake-redis.ts';

const nothing = [tokenBucket({ name: 'none', rate: 0, period: '1m' })];

function setUp(limits = nothing) {
  const told: boolean[] = [];
  let seconds = 1_000;
  const clock: Clock = { nowMicros: () => seconds * 1_000_000 };
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock, maxKeys: 20_000 }),
    limits,
    onBlock: (_, { repeated }) => void told.push(repeated),
  });
  return { told, limiter, at: (now: number) => void (seconds = now) };
}

describe('`decision.repeated` in `onBlock`', () => {
  test('is false once a minute for each identity, and true between', async () => {
    const { told, limiter, at } = setUp();
    const expected: [second: number, identity: string, repeated: boolean][] = [
      [1_000, 'anna', false],
      [1_000, 'anna', true],
      [1_030, 'ben', false],
      [1_059, 'anna', true],
      [1_060, 'anna', false],
      [1_060, 'anna', true],
      [1_089, 'ben', true],
      [1_090, 'ben', false],
      [1_119, 'anna', true],
      [1_120, 'anna', false],
    ];
    for (const [second, identity] of expected) {
      at(second);
      await limiter.allow(identity);
    }
    expect(told).toEqual(expected.map(([, , repeated]) => repeated));
  });

  test('is false again after the clock was set back', async () => {
    const { told, limiter, at } = setUp();
    await limiter.allow('anna');
    at(900);
    await limiter.allow('anna');
    expect(told).toEqual([false, false]);
  });

  test.each<[what: string, one: Identity, other: Identity, same: boolean]>([
    ['a number and its digits', 42, '42', true],
    ['equal lists', ['a', 'b'], ['a', 'b'], true],
    ['lists cut elsewhere', ['ab', 'c'], ['a', 'bc'], false],
    ['a list and its text', ['a', 'b'], 'ab', false],
  ])('takes %s for one identity: the last column', async (_, one, other, same) => {
    const { told, limiter } = setUp();
    await limiter.allow(one);
    await limiter.allow(other);
    expect(told).toEqual([false, same]);
  });

  test('tells identities of named parts apart', async () => {
    const told: boolean[] = [];
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      limits: [
        tokenBucket({ name: 'org', by: 'org', rate: 0, period: '1m' }),
        tokenBucket({ name: 'key', by: 'key', rate: 0, period: '1m' }),
      ],
      onBlock: (_, { repeated }) => void told.push(repeated),
    });
    const asked: [identity: IdentityParts<'org' | 'key'>, repeated: boolean][] = [
      [{ org: 'a', key: 'b' }, false],
      [{ key: 'b', org: 'a' }, true],
      [{ org: 'b', key: 'a' }, false],
      [{ org: 'a', key: null }, false],
      [{ org: null, key: 'a' }, false],
      [{ org: 'a', key: null }, true],
    ];
    for (const [identity] of asked) await limiter.allow(identity);
    expect(told).toEqual(asked.map(([, repeated]) => repeated));
  });

  test('tells the limits of calls apart, by name and number', async () => {
    const { told, limiter } = setUp();
    const plans = [
      nothing,
      [tokenBucket({ name: 'other', rate: 0, period: '1m' })],
      [tokenBucket({ name: 'none', rate: 1, period: '1m' })],
    ];
    for (const limits of plans) await limiter.allow('anna', { limits, cost: 5 });
    for (const limits of plans) await limiter.allow('anna', { limits, cost: 5 });
    expect(told).toEqual([false, false, false, true, true, true]);
  });

  test('is of one limiter', async () => {
    const [one, other] = [setUp(), setUp()];
    await one.limiter.allow('anna');
    await other.limiter.allow('anna');
    expect([...one.told, ...other.told]).toEqual([false, false]);
  });

  test('holds for refusals without the store, and for every verb', async () => {
    const told: [reason: string, repeated: boolean][] = [];
    const limiter = new RateLimiter({
      redis: new FakeRedis('away'),
      rate: 5,
      period: '1m',
      failStrategy: 'closed',
      onBlock: (_, { reason, repeated }) => void told.push([reason, repeated]),
    });
    await limiter.allow('anna');
    await limiter.allowUpTo('anna', 2);
    await limiter.reserve('anna', { ttl: '1m' });
    expect(told).toEqual([
      ['store_away', false],
      ['store_away', true],
      ['store_away', true],
    ]);
  });

  test('forgets the oldest of more than 10,000 refusals', async () => {
    const { told, limiter } = setUp();
    const users = Array.from({ length: 10_000 }, (_, i) => String(i));
    for (const user of users) await limiter.allow(user);
    await limiter.allow('0');
    expect(told.splice(0).filter(Boolean)).toEqual([true]);
    await limiter.allow('one more');
    await limiter.allow('1');
    await limiter.allow('0');
    expect(told).toEqual([false, true, false]);
  });

  test('is no field of the decision that the caller gets', async () => {
    const { limiter } = setUp();
    const plain = new RateLimiter({ store: new MemoryStore(), limits: nothing });
    const decision = await limiter.allow('anna');
    expect(Object.keys(decision)).toEqual(Object.keys(await plain.allow('anna')));
    expect(JSON.stringify(decision)).not.toContain('repeated');
    expect(await plain.allow('anna')).not.toHaveProperty('repeated');
  });

  test('keeps no identity in memory as it was passed', async () => {
    const set = vi.spyOn(Map.prototype, 'set');
    try {
      await setUp().limiter.allow('anna@example.com');
      const keys = set.mock.calls.map(([key]) => String(key));
      expect(keys.some((key) => key.endsWith(' none=0'))).toBe(true);
      expect(keys.join('\n')).not.toContain('anna');
    } finally {
      set.mockRestore();
    }
  });

  test('costs no decision when the caller changes the identity meanwhile', async () => {
    const { told, limiter } = setUp();
    const identity = ['anna'];
    const pending = limiter.allow(identity);
    identity.length = 0;
    expect(await pending).toMatchObject({ allowed: false });
    expect(told).toEqual([false]);
  });

  test('tells each request of a full queue by itself', async () => {
    const told: [decision: object, repeated: boolean][] = [];
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      rate: 1,
      period: '1h',
      onBlock: (_, decision) => void told.push([decision, decision.repeated]),
    });
    const wait = { timeoutMs: 600_000, maxQueue: 0 };
    const limits = [tokenBucket({ rate: 1, period: '5m' })];
    const guard = createGuard<object>(limiter, { identify: () => 'anna', limits, wait });
    await guard.check({});
    const waiting = guard.check({}).catch(() => {});
    await new Promise(setImmediate);
    await guard.check({});
    await guard.check({});
    expect(told.map(([, repeated]) => repeated)).toEqual([false, true]);
    expect(told[0]![0]).not.toBe(told[1]![0]);
    await limiter.close();
    await waiting;
  });
});
