import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { createClient } from 'redis';
import { afterAll, beforeAll } from 'vitest';
import { startRedis } from '../kit/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

let redis: Awaited<ReturnType<typeof startRedis>>;
let relay: Relay;
let client: ReturnType<typeof clientOf>;

/** A client without a listener for `error` would end the process. */
function clientOf(port: number) {
  return createClient({ socket: { host: '127.0.0.1', port } }).on('error', () => {});
}

beforeAll(async () => {
  redis = await startRedis();
  relay = await startRelay(redis);
  client = clientOf(redis.port);
  await client.connect();
});
afterAll(async () => {
  client.destroy();
  await relay.close();
  await redis.close();
});

declareStore('node-redis, a client', () => ({ redis: client }));

declareClient('node-redis, connected', () => ({
  open: async () => {
    const made = clientOf(relay.port);
    await made.connect();
    return { redis: made, close: () => made.destroy() };
  },
  faults: relay,
}));

declareClient('node-redis, about to connect', () => ({
  open: () => {
    const made = clientOf(relay.port);
    made.connect().catch(() => {});
    return { redis: made, close: () => made.destroy() };
  },
  faults: relay,
}));
