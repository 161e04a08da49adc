import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { afterAll, beforeAll } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import { SocketPort } from './socket-port.ts';
import { declareClient, declareStore } from './subjects.ts';

let redis: Awaited<ReturnType<typeof startRedis>>;
let relay: Relay;
let port: SocketPort;

beforeAll(async () => {
  redis = await startRedis();
  relay = await startRelay(redis);
  port = new SocketPort(redis);
});
afterAll(async () => {
  await port.close();
  await relay.close();
  await redis.close();
});

declareStore('a RedisPort of our own', () => ({ redis: port }));

declareClient('a RedisPort of our own', () => ({
  open: () => {
    const made = new SocketPort(relay);
    return { redis: made, close: () => made.close() };
  },
  faults: relay,
}));
