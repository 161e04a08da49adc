import { RateLimiter } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { createSentinel } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadClient } from '../../installs/clients/index.mjs';
import { startSentinel, waitUntil } from '../../kit/servers/index.mjs';
import { declareEndings } from './endings.ts';
import { declareClient, declareStore } from './subjects.ts';

type Group = Awaited<ReturnType<typeof startSentinel>>;

const versions = [
  ['node-redis 6', createSentinel],
  ['node-redis 5', loadClient('redis-5').createSentinel],
] as const;

/** Longer than any test: the Sentinels promote no replica. */
const NEVER_MS = 600_000;

describe.each(versions)('a Sentinel client of %s', (_version, create) => {
  function clientOf({ name, addresses, primary }: Group, relay?: Relay) {
    const { host, port } = primary;
    const made = create({
      name,
      sentinelRootNodes: addresses,
      ...(relay && { nodeAddressMap: { [`${host}:${port}`]: relay } }),
    });
    return made.on('error', () => {});
  }

  describe('on a primary that stays', () => {
    let group: Group;
    let relay: Relay;
    let client: ReturnType<typeof clientOf>;

    beforeAll(async () => {
      group = await startSentinel({ downAfterMs: NEVER_MS });
      relay = await startRelay(group.primary);
      client = clientOf(group);
      await client.connect();
    });
    afterAll(async () => {
      await client.destroy();
      await relay.close();
      await group.close();
    });

    declareStore('a client', () => ({ redis: client }));

    declareClient(
      'connected',
      () => ({
        open: async () => {
          const made = clientOf(group, relay);
          await made.connect();
          return { redis: made, close: () => made.destroy() };
        },
        faults: relay,
      }),
      {},
      { tellsOfLoss: false },
    );

    declareClient(
      'about to connect',
      () => ({
        open: () => {
          const made = clientOf(group, relay);
          made.connect().catch(() => {});
          return { redis: made, close: () => made.destroy() };
        },
        faults: relay,
      }),
      {},
      { tellsOfLoss: false },
    );
  });

  declareEndings('on a primary of its own', async () => {
    const group = await startSentinel({ downAfterMs: NEVER_MS });
    const client = clientOf(group);
    await client.connect();
    return {
      client: { redis: client, close: () => client.destroy() },
      server: group.primary,
      close: async () => {
        await client.destroy();
        await group.close();
      },
    };
  });

  test('decisions are made on the new primary after the old one was killed', async () => {
    const group = await startSentinel();
    const client = clientOf(group);
    await client.connect();
    const limiter = new RateLimiter({
      redis: client,
      rate: 5,
      period: '1h',
      namespace: 'failover',
      onError() {},
    });
    await limiter.ready();
    await group.primary.kill();
    expect(await limiter.allow('user')).toMatchObject({ degraded: true });
    await group.becomesPrimary(group.replica);
    await waitUntil('a real decision', async () => !(await limiter.peek('user')).degraded);
    expect(await limiter.allow('user')).toMatchObject({ allowed: true, degraded: false });
    await client.destroy();
    await group.close();
  });
});
