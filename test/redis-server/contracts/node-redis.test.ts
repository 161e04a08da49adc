import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe } from 'vitest';
import { endNodeRedis } from '../../installs/clients/end-node-redis.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { startRedis } from '../../kit/servers/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

const versions = [
  ['node-redis 6', createClient],
  ['node-redis 5', loadClient('redis-5').createClient],
  ['node-redis 4', loadClient('redis-4').createClient],
] as const;

describe.each(versions)('%s', (_version, create) => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let relay: Relay;
  let client: ReturnType<typeof clientOf>;

  /** Without a listener for `error` the client would end the process. */
  function clientOf(port: number) {
    return create({ socket: { host: '127.0.0.1', port } }).on('error', () => {});
  }

  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay(redis);
    client = clientOf(redis.port);
    await client.connect();
  });
  afterAll(async () => {
    endNodeRedis(client);
    await relay.close();
    await redis.close();
  });

  declareStore('a client', () => ({ redis: client }));

  declareClient('connected', () => ({
    open: async () => {
      const made = clientOf(relay.port);
      await made.connect();
      return { redis: made, close: () => endNodeRedis(made) };
    },
    faults: relay,
  }));

  declareClient('about to connect', () => ({
    open: () => {
      const made = clientOf(relay.port);
      made.connect().catch(() => {});
      return { redis: made, close: () => endNodeRedis(made) };
    },
    faults: relay,
  }));
});
