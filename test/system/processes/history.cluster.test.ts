import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TagCount } from '../../../src/limiter/cluster-tags.ts';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';
import type { ClusterNode, RedisCluster } from '../../kit/servers/redis-cluster.mjs';
import { BURST, LoadGroup, keyOf } from './history.load.ts';
import { historiesOf, linesOf, mostTogether, primariesOf, replayInOrder } from './history.nodes.ts';
import type { Histories } from './history.nodes.ts';
import { chargesOf, timeOf, total } from './history.replay.ts';
import { runNoMore } from './history.script.ts';

describe.each([
  ['', undefined],
  [' whose keys share 16 tags', 16],
] as const)('the history of decisions on a cluster%s', (_, tags) => {
  let cluster: RedisCluster;

  beforeAll(async () => {
    cluster = await startCluster({
      replicas: 1,
      node: { config: { 'cluster-require-full-coverage': 'no' } },
    });
  });
  afterAll(() => cluster.close());

  /** An identity whose key is on this node. */
  const identityOn = async (namespace: string, node: ClusterNode): Promise<string> => {
    for (let i = 0; ; i++) {
      if ((await cluster.nodeOfKey(keyOf(namespace, `one-${i}`, tags))) === node) return `one-${i}`;
    }
  };

  const flush = async (): Promise<void> => {
    for (const node of await primariesOf(cluster)) await node.command('FLUSHALL');
  };

  test('replays identically across nodes while a slot moves twice under load, and is complete', async () => {
    const namespace = 'moved';
    /** Enough for all three nodes. */
    const burst = 1_200;
    const slot = slotOfKey(keyOf(namespace, 'scarce', tags));
    const load = new LoadGroup(
      (['ioredis', 'node-redis', 'ioredis'] as const).map((library, i) => ({
        door: { library, cluster: cluster.addresses },
        failStrategy: i === 0 ? 'closed' : 'open',
      })),
      // Calls under two limits and under one, in one slot and in the same script calls.
      { namespace, plenty: identityIn(slot, namespace, tags), burst, timeoutMs: 10_000, tags },
    );
    try {
      const first = await cluster.nodeOfSlot(slot);
      const [second, third] = cluster.nodes.slice(0, 3).filter((node) => node !== first);
      const owners = [first, second!, third!];
      await load.going();
      load.askFor('scarce');
      // Without a state of its own it would get `TRYAGAIN` during the move, after which node-redis does not resend.
      do await load.decides();
      while (!load.admitted.has('scarce'));
      // All keys of the slot move at once, its node's record among them.
      for (const [i, to] of owners.slice(1).entries()) {
        await cluster.moveSlot(slot, owners[i]!, to, {
          during: () => sleep(200),
        });
        await load.decides();
      }
      await load.exhausts();
      await load.stop();

      const histories = await historiesOf(cluster, await primariesOf(cluster));
      const noted = linesOf(histories);
      const hot = histories.get(slot)!;
      const charged = replayInOrder(histories, owners, load.known);
      console.log(
        `${noted.length} script calls, ${owners.map((node) => hot.get(node)?.length).join(' + ')} of the slot that moved; ${load.summary(charged)}`,
      );
      for (const node of owners) expect(hot.get(node)?.length).toBeGreaterThan(0);
      if (tags !== undefined) {
        expect(mostTogether(noted), 'identities shared script calls').toBeGreaterThan(1);
      }
      expect(load.excesses(charged)).toEqual([]);
      expect([...load.failures], 'a move is no failure').toEqual([]);
      expect(total(load.admitted)).toBe(total(charged));
      expect(new Set(noted)).toEqual(new Set(load.answered));
      expect(load.admitted.get('scarce')).toBe(burst);
      const scarce = owners.map((node) =>
        chargesOf(hot.get(node)!, load.known).get(load.keyOf('scarce')),
      );
      expect(
        scarce.every((units) => units! > 0),
        'its burst was spent on all of them',
      ).toBe(true);
    } finally {
      await load.close();
      await flush();
    }
  });

  test.each<[string, number, (fault: Death) => Promise<Histories>]>([
    [
      'under load',
      0,
      async ({ failing, load, scarce }) => {
        // The failover must preserve something: the primary has decided calls, and the replica has received them.
        await waitUntil('the primary to decide', async () => {
          return linesOf(await historiesOf(cluster, [failing]), failing).length > 0;
        });
        await failing.command('WAIT', '1', '5000');
        load.askFor(scarce);
        await failing.kill();
        return new Map();
      },
    ],
    [
      'when its replica has not heard of it for long',
      1,
      async ({ failing, successor, load, scarce }) => {
        await successor.stop();
        await failing.command('CLIENT', 'KILL', 'TYPE', 'replica');
        load.askFor(scarce);
        await load.exhausts();
        await runNoMore(failing);
        const died = await historiesOf(cluster, [failing]);
        await failing.kill();
        await successor.cont();
        return died;
      },
    ],
  ])(
    'replays identically after a primary dies %s, loses only counted latest calls, and admits at most one extra burst',
    async (name, place, inject) => {
      const [failing, successor] = [cluster.nodes[place]!, cluster.nodes[place + 3]!];
      const namespace = `died-${place}`;
      const scarce = await identityOn(namespace, failing);
      const load = new LoadGroup(
        (['open', 'closed'] as const).map((failStrategy) => ({
          door: { library: 'ioredis', cluster: cluster.addresses },
          failStrategy,
        })),
        { namespace, tags },
      );
      try {
        await load.going();
        const died = await inject({ failing, successor, load, scarce });
        await waitUntil('the replica to take over', async () => {
          return (await successor.info('replication'))['role'] === 'master';
        });
        await load.exhausts();
        await load.stop();

        const { known } = load;
        const histories = await historiesOf(cluster, await primariesOf(cluster));
        const owners = [failing, successor];
        const charged = replayInOrder(histories, owners, known);
        replayInOrder(died, owners, known);
        const kept = new Set(linesOf(histories));
        const lost = [...new Set([...linesOf(died), ...load.answered])].filter(
          (line) => !kept.has(line),
        );
        const gone = chargesOf(lost, known);
        const admitted = load.admitted.get(scarce)!;
        console.log(
          `${name}: lost ${lost.length} of ${kept.size + lost.length} script calls; ${load.summary(charged, gone)}; ` +
            `one identity was admitted ${admitted} under a burst of ${BURST}`,
        );
        expect(load.excesses(charged, gone)).toEqual([]);
        expect(load.degraded).toBeGreaterThan(0);
        const survived = linesOf(histories, failing);
        expect(survived.length).toBeGreaterThan(0);
        expect(linesOf(histories, successor).length).toBeGreaterThan(0);
        // Replication keeps the order.
        const last = Math.max(...survived.map(timeOf));
        expect(lost.filter((line) => timeOf(line) < last)).toEqual([]);
        if (died.size > 0) {
          expect(gone.get(load.keyOf(scarce))).toBe(BURST);
          expect(admitted).toBeGreaterThan(BURST);
        }
      } finally {
        await load.close();
        await flush();
      }
    },
  );
});

function identityIn(slot: number, namespace: string, tags: TagCount | undefined): string {
  for (let i = 0; ; i++) {
    if (slotOfKey(keyOf(namespace, `plenty-${i}`, tags)) === slot) return `plenty-${i}`;
  }
}

interface Death {
  readonly failing: ClusterNode;
  readonly successor: ClusterNode;
  readonly load: LoadGroup;
  /** An identity of the failing node. */
  readonly scarce: string;
}
