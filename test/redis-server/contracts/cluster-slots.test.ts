import { randomUUID } from 'node:crypto';
import { Cluster } from 'ioredis';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { digestIdentity } from '../../../src/base/identity.ts';
import { slotOfKey, startCluster } from '../../kit/servers/index.mjs';

describe('a cluster whose slots move', () => {
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let ioredis: Cluster;
  let nodeRedis: ReturnType<typeof nodeRedisCluster>;

  function nodeRedisCluster() {
    const rootNodes = cluster.addresses.map((socket) => ({ socket }));
    return createCluster({ rootNodes }).on('error', () => {});
  }

  beforeAll(async () => {
    cluster = await startCluster();
    ioredis = new Cluster(cluster.addresses, { redisOptions: { maxRetriesPerRequest: 0 } });
    nodeRedis = nodeRedisCluster();
    await nodeRedis.connect();
  });
  afterAll(async () => {
    ioredis?.disconnect();
    nodeRedis?.destroy();
    await cluster?.close();
  });

  test('calls that miss their deadline because ioredis keeps TRYAGAIN to itself are followed by calls that are decided', async () => {
    const namespace = `kept-${randomUUID()}`;
    // The client itself repeats a call after this time, and emits no event when it does.
    const own = new Cluster(cluster.addresses, {
      redisOptions: { maxRetriesPerRequest: 0 },
      retryDelayOnTryAgain: 1_000,
    });
    const limiter = new RateLimiter({
      redis: own,
      namespace,
      cluster: { tags: 16 },
      rate: 100,
      period: '365d',
      timeoutMs: 500,
      onError() {},
    });
    await limiter.ready();
    const tagOf = (identity: string): number =>
      Number.parseInt(digestIdentity(identity, undefined).slice(0, 2), 16) % 16;
    const users = Array.from(Array(400).keys(), (i) => `user:${i}`);
    const inTag = users.filter((id) => tagOf(id) === 5).slice(0, 12);
    const all = (who: readonly string[]) => Promise.all(who.map((id) => limiter.allow(id)));
    await all(inTag.slice(0, 6));
    const stored = await Promise.all(
      cluster.nodes.map((node) => node.command('KEYS', `{${namespace}:16:*`)),
    );
    const slot = slotOfKey((stored as string[][]).flat()[0]!);
    const from = await cluster.nodeOfSlot(slot);
    const to = cluster.nodes.find((node) => node !== from)!;
    const others = users.filter((id) => tagOf(id) !== 5).slice(0, 40);
    await cluster.moveSlot(slot, from, to, {
      during: async () => {
        const missed = all(inTag);
        await new Promise((resolve) => setTimeout(resolve, 50));
        expect((await all(others)).map(({ degraded }) => degraded)).toEqual(
          others.map(() => false),
        );
        expect((await missed).map(({ reason }) => reason)).toEqual(
          inTag.map(() => 'store_timeout'),
        );
        expect((await all(inTag)).map(({ degraded }) => degraded)).toEqual(inTag.map(() => false));
      },
    });
    own.disconnect();
  });

  describe.each([
    ['ioredis', () => ioredis],
    ['node-redis', () => nodeRedis],
  ])('several limits of one identity, with %s, while their slot moves', (_, client) => {
    test('calls of several identities under one tag are decided and charged once before, during and after the move', async () => {
      const namespace = `tagged-${randomUUID()}`;
      const limiter = new RateLimiter({
        redis: client(),
        namespace,
        cluster: { tags: 16 },
        rate: 100,
        period: '365d',
        failStrategy: 'open',
        timeoutMs: 5_000,
      });
      await limiter.ready();
      // Identities of one tag: some have a state before the move, the others are new while it goes on.
      const tagOf = (identity: string): number =>
        Number.parseInt(digestIdentity(identity, undefined).slice(0, 2), 16) % 16;
      const ids = Array.from(Array(400).keys(), (i) => `user:${i}`).filter((id) => tagOf(id) === 5);
      const known = ids.slice(0, 8);
      const all = (who: readonly string[]) => Promise.all(who.map((id) => limiter.allow(id)));
      const before = await all(known);
      expect(before.map(({ remaining }) => remaining)).toEqual(known.map(() => 99));
      const stored = await Promise.all(
        cluster.nodes.map((node) => node.command('KEYS', `{${namespace}:16:*`)),
      );
      const slot = slotOfKey((stored as string[][]).flat()[0]!);
      const from = await cluster.nodeOfSlot(slot);
      const to = cluster.nodes.find((node) => node !== from)!;
      let took = 0;
      await cluster.moveSlot(slot, from, to, {
        during: async () => {
          for (let turn = 1; turn <= 3; turn++) {
            const began = performance.now();
            const decisions = await all(ids);
            took = performance.now() - began;
            expect(decisions.map(({ degraded }) => degraded)).toEqual(ids.map(() => false));
            expect(decisions.map(({ remaining }) => remaining)).toEqual(
              ids.map((id) => 100 - turn - (known.includes(id) ? 1 : 0)),
            );
          }
        },
      });
      expect((await all(ids)).map(({ remaining }) => remaining)).toEqual(
        ids.map((id) => 96 - (known.includes(id) ? 1 : 0)),
      );
      expect(took, 'no call waited until the move had ended').toBeLessThan(5_000);
    });

    const limits = [
      tokenBucket({ name: 'narrow', rate: 3, period: '365d' }),
      tokenBucket({ name: 'wide', rate: 5, period: '365d' }),
    ];
    const keyOf = (namespace: string, identity: string): string =>
      `${namespace}:limits:${digestIdentity(identity, undefined)}`;

    test('charges all limits or none before, during and after the move', async () => {
      const namespace = `moving-${randomUUID()}`;
      const limiter = new RateLimiter({
        redis: client(),
        namespace,
        limits,
        failStrategy: 'throw',
        timeoutMs: 10_000,
      });
      const slot = slotOfKey(keyOf(namespace, 'known'));
      // An identity of the same slot, without a state so far.
      let fresh = 'fresh';
      for (let i = 0; slotOfKey(keyOf(namespace, fresh)) !== slot; i++) fresh = `fresh-${i}`;
      const from = await cluster.nodeOfSlot(slot);
      const to = cluster.nodes.find((node) => node !== from)!;
      const states = async (identity: string): Promise<unknown> => {
        const { allowed, limits: each } = await limiter.allow(identity);
        return [allowed, ...each.map(({ remaining }) => remaining)];
      };

      expect(await states('known')).toEqual([true, 2, 4]);
      let meanwhile: Promise<unknown> | undefined;
      await cluster.moveSlot(slot, from, to, {
        during: async () => {
          expect(await states('known')).toEqual([true, 1, 3]);
          // The keys do not exist: the new node answers TRYAGAIN until it owns the slot.
          meanwhile = states(fresh);
          await new Promise((resolve) => setTimeout(resolve, 50));
        },
      });
      expect(await meanwhile).toEqual([true, 2, 4]);
      expect(await states('known')).toEqual([true, 0, 2]);
      // A refusal charges no other limit.
      expect(await states('known')).toEqual([false, 0, 2]);
      expect(await states(fresh)).toEqual([true, 1, 3]);
    });
  });
});
