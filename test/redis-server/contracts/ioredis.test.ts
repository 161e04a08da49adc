import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { Redis as Ioredis6 } from 'ioredis';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe } from 'vitest';
import { loadClient } from '../../installs/clients/index.mjs';
import { startRedis, startSentinel } from '../../kit/servers/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

/** The contract tests the library's own errors, so the client's error events are ignored. */
function quiet(client: Redis): Redis {
  return client.on('error', () => {});
}

const versions = [
  ['ioredis 6', Ioredis6],
  ['ioredis 5', loadClient('ioredis-5').Redis],
  ['iovalkey', loadClient('iovalkey').Redis],
] as const;

describe.each(versions)('%s', (_version, Redis) => {
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

  // For a URL the library uses the ioredis installed here, so only one row tests URLs.
  if (Redis === Ioredis6) declareStore('a URL', () => ({ redis: redis.url }));
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

describe.each(versions)('%s by way of Sentinels', (_version, Redis) => {
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
