import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Redis } from 'ioredis';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';

const CLOSED = { name: 'RateLimiterError', code: 'ERR_LIMITER_CLOSED' };
const limits = { rate: 9, period: '1h' } as const;

describe('close', () => {
  test('waits for calls under way and refuses later ones', async () => {
    const redis = new FakeRedis();
    let release = (): void => {};
    redis.respond = (send) =>
      new Promise((resolve) => {
        release = () => resolve(redis.run(send));
      });
    const order: string[] = [];
    const limiter = new RateLimiter({ redis, ...limits, timeoutMs: 5_000 });
    const pending = limiter.allow('user').then((decision) => {
      order.push('decided');
      return decision;
    });
    const closing = limiter.close().then(() => order.push('closed'));

    for (const call of [
      () => limiter.allow('user'),
      () => limiter.peek('user'),
      () => limiter.reset('user'),
      () => limiter.ready(),
      () => limiter.allow(''),
      () => limiter.allow('user', { cost: 99 }),
    ]) {
      await expect(call()).rejects.toMatchObject(CLOSED);
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual([]);
    release();
    await closing;
    expect(await pending).toMatchObject({ allowed: true, degraded: false });
    expect(order).toEqual(['decided', 'closed']);
    expect(redis.sends).toHaveLength(1);
  });

  test('waits for a call that never settles only until its deadline', async () => {
    const redis = Object.assign(new FakeRedis(), { respond: silence });
    const limiter = new RateLimiter({ redis, ...limits, timeoutMs: 30 });
    const order: string[] = [];
    const pending = limiter.allow('user').then((decision) => {
      order.push('decided');
      return decision;
    });
    const closing = limiter.close().then(() => order.push('closed'));
    expect(await pending).toMatchObject({ reason: 'store_timeout' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(order, 'close() waits for nothing else').toEqual(['decided', 'closed']);
    await closing;
  });

  test('resolves when the clock of a MemoryStore throws', async () => {
    const clock = {
      nowMicros: (): number => {
        throw new Error('no clock');
      },
    };
    const limiter = new RateLimiter({ store: new MemoryStore({ clock }), ...limits });
    await expect(limiter.allow('user')).rejects.toThrow('no clock');
    await limiter.close();
  });

  test('may be called twice, and is called by `await using`', async () => {
    const limiter = new RateLimiter({ store: new MemoryStore(), ...limits });
    expect(limiter.close()).toBe(limiter.close());
    await limiter.close();
    await limiter[Symbol.asyncDispose]();

    let used: RateLimiter | undefined;
    {
      await using scoped = new RateLimiter({ store: new MemoryStore(), ...limits });
      used = scoped;
      expect(await used.allow('user')).toMatchObject({ allowed: true });
    }
    await expect(used.allow('user')).rejects.toMatchObject(CLOSED);
  });

  test('opens nothing on a limiter that was never used', async () => {
    const limiter = new RateLimiter({ redis: 'redis://127.0.0.1:1', ...limits });
    await limiter.close();
    await expect(limiter.ready()).rejects.toMatchObject(CLOSED);
  });

  test('leaves open a port that was passed', async () => {
    let closed = 0;
    const redis = Object.assign(new FakeRedis(), {
      close: async () => {
        closed += 1;
      },
    });
    const limiter = new RateLimiter({ redis, ...limits });
    await limiter.allow('user');
    await limiter.close();
    expect(closed).toBe(0);
  });
});

describe('connections', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());

  /** Connections of clients on the port; the kit's own connection uses the unix socket. */
  const connections = async (): Promise<number> =>
    String(await redis.command('CLIENT', 'LIST', 'TYPE', 'normal'))
      .split('\n')
      .filter((line) => line.includes(`laddr=127.0.0.1:${redis.port}`)).length;
  const becomes = (count: number) =>
    waitUntil(`${count} connections`, async () => (await connections()) === count);
  const onUrl = (options: { namespace?: string; timeoutMs?: number } = {}) =>
    new RateLimiter({ redis: redis.url, ...limits, timeoutMs: 5_000, ...options });

  test('no connection is opened before the first use', async () => {
    const limiter = onUrl();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await connections()).toBe(0);
    await limiter.allow('user');
    expect(await connections()).toBe(1);
    await limiter.close();
    await becomes(0);
  });

  test('limiters on one URL share a connection, which ends when the last of them closes', async () => {
    const [one, other, third] = [onUrl(), onUrl({ namespace: 'other' }), onUrl()];
    await Promise.all([one.ready(), other.ready(), third.ready()]);
    expect(await connections()).toBe(1);
    await one.close();
    await one.close();
    await third.close();
    expect(await connections()).toBe(1);
    expect(await other.allow('user')).toMatchObject({ degraded: false });
    await other.close();
    await becomes(0);

    const again = onUrl();
    expect(await again.allow('user')).toMatchObject({ degraded: false });
    expect(await connections()).toBe(1);
    await again.close();
    await becomes(0);
  });

  test('a client that was passed stays open', async () => {
    const client = new Redis(redis.port, { maxRetriesPerRequest: 0 });
    const limiter = new RateLimiter({ redis: client, ...limits });
    await limiter.ready();
    await limiter.close();
    expect(await client.ping()).toBe('PONG');
    client.disconnect();
    await becomes(0);
  });

  test('close() waits for a connection that is being made, then ends it', async () => {
    const limiter = onUrl();
    const pending = limiter.allow('user');
    await limiter.close();
    expect(await pending).toMatchObject({ degraded: false });
    await becomes(0);
  });
});
