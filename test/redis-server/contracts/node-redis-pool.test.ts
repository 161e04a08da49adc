import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { createClientPool } from 'redis';
import { afterAll, beforeAll, describe } from 'vitest';
import { loadClient } from '../../installs/clients/index.mjs';
import { startRedis } from '../../kit/servers/index.mjs';
import { declareEndings } from './endings.ts';
import { nodeRedisSettings } from './recommended.ts';
import { declareClient, declareStore } from './subjects.ts';

const versions = [
  ['node-redis 6', createClientPool],
  ['node-redis 5', loadClient('redis-5').createClientPool],
] as const;

const SEVERAL = 'its commands travel on several connections, so they may overtake each other';

describe.each(versions)('a pool of %s', (_version, create) => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let relay: Relay;
  let client: ReturnType<typeof poolOf>;

  function poolOf(port: number, { socket = {}, ...settings }: { socket?: object } = {}) {
    const options = { ...settings, socket: { ...socket, host: '127.0.0.1', port } };
    return create(options).on('error', () => {});
  }

  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay(redis);
    client = poolOf(redis.port);
    await client.connect();
  });
  afterAll(async () => {
    client.destroy();
    await relay.close();
    await redis.close();
  });

  declareStore('a client', () => ({ redis: client }));

  describe.each([
    ['its defaults', {}],
    ['the recommended settings', nodeRedisSettings],
  ])('with %s', (_settings, settings) => {
    declareClient(
      'connected',
      () => ({
        open: async () => {
          const made = poolOf(relay.port, settings);
          await made.connect();
          return { redis: made, close: () => made.destroy() };
        },
        faults: relay,
      }),
      { 'the server runs calls in the order in which they were sent': SEVERAL },
      { tellsOfLoss: false },
    );
  });

  declareEndings('on a server of its own', async () => {
    const server = await startRedis();
    const made = poolOf(server.port);
    await made.connect();
    return {
      client: { redis: made, close: () => made.destroy() },
      server,
      close: async () => {
        made.destroy();
        await server.close();
      },
    };
  });
});
