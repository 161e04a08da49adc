import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { startCluster } from '../../kit/servers/index.mjs';
import { clusterClients } from './cluster.mjs';

let cluster: Awaited<ReturnType<typeof startCluster>>;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.close());

test.each(clusterClients)(
  '$name: connections to a cluster that are cut while idle cost no decision',
  async ({ open }) => {
    const { close, ...where } = await open(cluster);
    const limiter = new RateLimiter({ ...where, rate: 1_000, period: '1m', timeoutMs: 1_000 });
    /** Identities on every node. */
    const reasons = async (): Promise<Set<string>> => {
      const calls = Array.from({ length: 60 }, (_, i) => limiter.allow(`identity-${i}`));
      return new Set((await Promise.all(calls)).map(({ reason }) => reason));
    };
    await limiter.ready();
    expect(await reasons()).toEqual(new Set(['within_limit']));
    for (let i = 0; i < 3; i++) {
      await Promise.all(
        cluster.nodes.map((node) => node.command('CLIENT', 'KILL', 'TYPE', 'normal')),
      );
      await sleep(30); // long enough that the client notices
      expect(await reasons()).toEqual(new Set(['within_limit']));
    }
    await limiter.close();
    close();
  },
);
