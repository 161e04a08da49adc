import { RateLimiter } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Glide, GlideOptions } from '../../installs/clients/index.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { UNREACHED_MS, declareClient, declareStore } from './subjects.ts';

const { GlideClient, Logger } = loadClient('@valkey/valkey-glide');
Logger.setLoggerConfig('off'); // it logs every error to the console

describe('valkey-glide', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let relay: Relay;
  let client: Glide;
  let asBytes: Glide;
  const open = (port: number, options: Omit<GlideOptions, 'addresses'> = {}) =>
    GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port }], ...options });

  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay(redis);
    client = await open(redis.port, { requestTimeout: UNREACHED_MS });
    asBytes = await open(redis.port, { requestTimeout: UNREACHED_MS, defaultDecoder: 0 });
  });
  afterAll(async () => {
    client.close();
    asBytes.close();
    await relay.close();
    await redis.close();
  });

  declareStore('a client', () => ({ redis: client }));
  declareStore('a client that reads bytes', () => ({ redis: asBytes }));
  for (const lazyConnect of [false, true]) {
    declareClient(
      `lazyConnect: ${lazyConnect}`,
      () => ({
        open: async () => {
          const made = await open(relay.port, { lazyConnect });
          return { redis: made, close: () => made.close() };
        },
        faults: relay,
      }),
      {
        'the server runs calls in the order in which they were sent':
          'valkey-glide hands each command to a task of its own',
      },
      { tellsOfLoss: false },
    );
  }

  test('a command whose reply was lost is not resent', async () => {
    const proxy = await startFaultProxy(redis);
    const made = await open(proxy.port);
    const limiter = new RateLimiter({ redis: made, rate: 5, period: '1h', namespace: 'lost' });
    await limiter.ready();
    for (let lost = 1; lost <= 3; lost++) {
      await proxy.dropReplies({ cut: true, times: 1 });
      expect(await limiter.allow('user')).toMatchObject({ degraded: true, reason: 'store_away' });
      await waitUntil('the next answer', async () => !(await limiter.peek('user')).degraded);
      expect(await limiter.peek('user')).toMatchObject({ degraded: false, remaining: 5 - lost });
    }
    made.close();
    await proxy.close();
  });

  test('a closed client is reported as away from the first call on', async () => {
    const made = await open(redis.port);
    const limiter = new RateLimiter({ redis: made, rate: 5, period: '1h' });
    await limiter.ready();
    made.close();
    expect(await limiter.allow('user')).toMatchObject({ degraded: true, reason: 'store_away' });
    expect(await limiter.allow('user')).toMatchObject({ degraded: true, reason: 'store_away' });
    await expect(limiter.ready()).rejects.toMatchObject({ reason: 'store_away' });
  });
});
