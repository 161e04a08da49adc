import { readFileSync } from 'node:fs';
import { RateLimiter } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { createSentinel } from 'redis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSentinel, waitUntil } from '../../kit/servers/index.mjs';
import { sentinelPort } from './sentinel-port.ts';
import { declareClient, declareStore } from './subjects.ts';

let group: Awaited<ReturnType<typeof startSentinel>>;
let relay: Relay;
let client: ReturnType<typeof connect>;

function connect(throughRelay: boolean) {
  const { host, port } = group.primary;
  return createSentinel({
    name: group.name,
    sentinelRootNodes: group.addresses,
    maxCommandRediscovers: 0,
    ...(throughRelay && { nodeAddressMap: { [`${host}:${port}`]: relay } }),
  });
}

beforeAll(async () => {
  group = await startSentinel();
  relay = await startRelay(group.primary);
  client = connect(false);
  const port = sentinelPort(client);
  await client.connect();
  declared = port;
});
afterAll(async () => {
  await client.destroy();
  await relay.close();
  await group.close();
});
let declared: ReturnType<typeof sentinelPort>;

test('the documentation shows the port tested here', () => {
  const code = readFileSync(new URL('sentinel-port.ts', import.meta.url), 'utf8');
  const docs = readFileSync(new URL('../../../docs/clients.md', import.meta.url), 'utf8');
  expect(docs).toContain(`\`\`\`ts\n${code}\`\`\`\n`);
});

test('the Sentinel client itself is refused because it may send twice without saying so', () => {
  const make = () => new RateLimiter({ redis: client as never, rate: 1, period: '1h' });
  expect(make).toThrow(/`redis` must be .*Sentinel/s);
});

declareStore('a port of a Sentinel client of node-redis', () => ({ redis: declared }));

declareClient(
  'a port of a Sentinel client of node-redis',
  () => ({
    open: async () => {
      const made = connect(true);
      const port = sentinelPort(made);
      await made.connect();
      return { redis: port, close: () => made.destroy() };
    },
    faults: relay,
  }),
  {},
  { tellsOfLoss: false },
);

test('decisions are made on the new primary after the old one was killed', async () => {
  const limiter = new RateLimiter({
    redis: declared,
    rate: 5,
    period: '1h',
    namespace: 'failover',
  });
  await limiter.ready();
  await group.primary.kill();
  expect(await limiter.allow('user')).toMatchObject({ degraded: true });
  await group.becomesPrimary(group.replica);
  await waitUntil('a real decision', async () => !(await limiter.peek('user')).degraded);
  expect(await limiter.allow('user')).toMatchObject({ allowed: true, degraded: false });
});
