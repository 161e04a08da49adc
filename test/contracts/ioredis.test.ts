import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe } from 'vitest';
import { startRedis, startSentinel } from '../kit/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

/** Its errors are the connection's own business here, and it does not answer twice. */
function quiet(client: Redis): Redis {
  return client.on('error', () => {});
}

describe('ioredis', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let relay: Relay;
  let client: Redis;
  let pipelined: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay(redis);
    client = new Redis(redis.port, { maxRetriesPerRequest: 0 });
    pipelined = new Redis(redis.port, { maxRetriesPerRequest: 0, enableAutoPipelining: true });
  });
  afterAll(async () => {
    client.disconnect();
    pipelined.disconnect();
    await relay.close();
    await redis.close();
  });

  declareStore('a URL', () => ({ redis: redis.url }));
  declareStore('a client', () => ({ redis: client }));
  declareStore('a client with enableAutoPipelining', () => ({ redis: pipelined }));

  for (const enableAutoPipelining of [false, true]) {
    declareClient(`enableAutoPipelining: ${enableAutoPipelining}`, () => ({
      open: () => {
        const made = quiet(
          new Redis(relay.port, relay.host, { maxRetriesPerRequest: 0, enableAutoPipelining }),
        );
        return { redis: made, close: () => made.disconnect() };
      },
      faults: relay,
    }));
  }
  declareClient('with its default settings', () => ({
    open: () => {
      const made = quiet(new Redis(relay.port, relay.host));
      return { redis: made, close: () => made.disconnect() };
    },
    faults: relay,
  }));
  declareClient('with lazyConnect', () => ({
    open: () => {
      const made = quiet(
        new Redis(relay.port, relay.host, { maxRetriesPerRequest: 0, lazyConnect: true }),
      );
      return { redis: made, close: () => made.disconnect() };
    },
    faults: relay,
  }));
});

describe('ioredis by way of Sentinels', () => {
  let group: Awaited<ReturnType<typeof startSentinel>>;
  let relay: Relay;
  let client: Redis;

  const connect = (natMap?: Record<string, { host: string; port: number }>): Redis =>
    quiet(
      new Redis({
        sentinels: group.addresses,
        name: group.name,
        maxRetriesPerRequest: 0,
        ...(natMap && { natMap }),
      }),
    );

  beforeAll(async () => {
    group = await startSentinel();
    relay = await startRelay(group.primary);
    client = connect();
  });
  afterAll(async () => {
    client.disconnect();
    await relay.close();
    await group.close();
  });

  declareStore('a client', () => ({ redis: client }));
  declareClient('a client', () => ({
    open: () => {
      const { host, port } = group.primary;
      const made = connect({ [`${host}:${port}`]: { host: relay.host, port: relay.port } });
      return { redis: made, close: () => made.disconnect() };
    },
    faults: relay,
  }));
});
