import { channel, tracingChannel } from 'node:diagnostics_channel';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { CheckMessage, StoreStateMessage } from 'distributed-rate-limiter';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';
import { traced } from '../../kit/fakes/traced.ts';

const ended: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ended.splice(0)) end();
});

function tracedChecks(): [event: string, message: CheckMessage][] {
  const { heard, end } = traced(
    tracingChannel<unknown, CheckMessage>('distributed-rate-limiter:check'),
  );
  ended.push(end);
  return heard;
}

function storeStates(): StoreStateMessage[] {
  const heard: StoreStateMessage[] = [];
  const note = (message: unknown): void => {
    heard.push(message as StoreStateMessage);
  };
  const states = channel('distributed-rate-limiter:store');
  states.subscribe(note);
  ended.push(() => {
    states.unsubscribe(note);
  });
  return heard;
}

describe('the tracing channel', () => {
  test('publishes each allow and peek with its result', async () => {
    const heard = tracedChecks();
    const limiter = new RateLimiter({
      store: new MemoryStore(),
      rate: 5,
      period: '1h',
      namespace: 'api',
    });
    const allowed = await limiter.allow('alice', { cost: 2 });
    const peeked = await limiter.peek('alice');
    const impossible = await limiter.allow('alice', { cost: 6 });
    await limiter.reset('alice');

    const call = (operation: string, cost: number, result: unknown) => {
      const before = { operation, cost, namespace: 'api' };
      return [
        ['start', before],
        ['end', before],
        ['asyncStart', { ...before, result }],
        ['asyncEnd', { ...before, result }],
      ];
    };
    expect(heard).toEqual([
      ...call('allow', 2, allowed),
      ...call('peek', 1, peeked),
      ...call('allow', 6, impossible),
    ]);
    expect(JSON.stringify(heard)).not.toContain('alice');
  });

  test('publishes an error when the call rejects, and otherwise a degraded decision', async () => {
    const heard = tracedChecks();
    const redis = new FakeRedis('away');
    const options = { redis, rate: 5, period: '1h' } as const;
    const decision = await new RateLimiter(options).allow('user');
    const error: unknown = await new RateLimiter({ ...options, failStrategy: 'throw' })
      .allow('user')
      .catch((reason: unknown) => reason);
    expect(heard.map(([event, { result, error: cause }]) => [event, result, cause])).toEqual([
      ['start', undefined, undefined],
      ['end', undefined, undefined],
      ['asyncStart', decision, undefined],
      ['asyncEnd', decision, undefined],
      ['start', undefined, undefined],
      ['end', undefined, undefined],
      ['error', undefined, error],
      ['asyncStart', undefined, error],
      ['asyncEnd', undefined, error],
    ]);
  });

  test('costs nothing without subscribers', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), rate: 5, period: '1h' });
    const before = tracedChecks();
    await limiter.allow('user');
    expect(before).toHaveLength(4);
    for (const end of ended.splice(0)) end();
    await limiter.allow('user');
    expect(before).toHaveLength(4);
    expect(tracingChannel('distributed-rate-limiter:check').start.hasSubscribers).toBe(false);
  });
});

describe('the store’s channel', () => {
  test('publishes away and ready once each, however many calls there are', async () => {
    const heard = storeStates();
    const redis = new FakeRedis();
    const limiter = new RateLimiter({ redis, rate: 5, period: '1h' });
    await limiter.allow('user');
    redis.lastError = new Error('ECONNREFUSED');
    redis.become('away');
    for (let i = 0; i < 3; i++) await limiter.allow('user');
    redis.become('connecting');
    redis.become('ready');
    await limiter.allow('user');
    expect(heard.map(({ state, node }) => ({ state, node }))).toEqual([
      { state: 'away', node: '' },
      { state: 'ready', node: '' },
    ]);
    expect(heard[0]!.error).toMatchObject({ reason: 'store_away', cause: redis.lastError });
  });

  test('publishes hung, then ready with the first answer', async () => {
    const heard = storeStates();
    const redis = new FakeRedis();
    const limiter = new RateLimiter({ redis, rate: 5, period: '1h', timeoutMs: 20 });
    redis.respond = silence;
    expect(await limiter.allow('user')).toMatchObject({ reason: 'store_timeout' });
    expect(await limiter.allow('user')).toMatchObject({ reason: 'store_timeout' });
    redis.respond = (send) => redis.run(send);
    while ((await limiter.allow('user')).degraded) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(heard.map(({ state }) => state)).toEqual(['hung', 'ready']);
    expect(heard[0]!.error).toMatchObject({ reason: 'store_timeout' });
  });
});
