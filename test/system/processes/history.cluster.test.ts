import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';
import type { ClusterNode, RedisCluster } from '../../kit/servers/redis-cluster.mjs';
import { BURST, Crowd, keyOf } from './history.crowd.ts';
import { chargesOf, count, replay, timeOf, total } from './history.replay.ts';
import type { Counts, Known } from './history.replay.ts';
import { LOG, runNoMore } from './history.script.ts';

/** What each node has noted, by slot. */
type Histories = Map<number, Map<ClusterNode, string[]>>;

describe('the history of decisions on a cluster', () => {
  let cluster: RedisCluster;

  beforeAll(async () => {
    cluster = await startCluster({
      replicas: 1,
      node: { config: { 'cluster-require-full-coverage': 'no' } },
    });
  });
  afterAll(() => cluster.close());

  const primaries = async (): Promise<ClusterNode[]> => {
    const owners = await Promise.all(
      cluster.nodes.map(async (node) => {
        return node.answers && (await node.info('replication'))['role'] === 'master' ? [node] : [];
      }),
    );
    return owners.flat();
  };

  const historiesOf = async (nodes: readonly ClusterNode[]): Promise<Histories> => {
    const histories: Histories = new Map();
    for (const node of nodes) {
      for (const list of await node.command('KEYS', `*${LOG}*`)) {
        const slot = slotOfKey(list);
        const writer = cluster.nodes.find(({ id }) => list.endsWith(id))!;
        const ofSlot = histories.get(slot) ?? new Map<ClusterNode, string[]>();
        histories.set(slot, ofSlot.set(writer, await node.command('LRANGE', list, 0, -1)));
      }
    }
    return histories;
  };

  /** An identity whose key is on this node. */
  const identityOn = async (namespace: string, node: ClusterNode): Promise<string> => {
    for (let i = 0; ; i++) {
      if ((await cluster.nodeOfKey(keyOf(namespace, `one-${i}`))) === node) return `one-${i}`;
    }
  };

  const flush = async (): Promise<void> => {
    for (const node of await primaries()) await node.command('FLUSHALL');
  };

  test('replays identically across nodes while a slot moves twice under load, and is complete', async () => {
    const namespace = 'moved';
    /** Enough for all three nodes. */
    const burst = 1_200;
    const slot = slotOfKey(keyOf(namespace, 'scarce'));
    const crowd = new Crowd(
      (['ioredis', 'node-redis', 'ioredis'] as const).map((library, i) => ({
        door: { library, cluster: cluster.addresses },
        failStrategy: i === 0 ? 'closed' : 'open',
      })),
      // Calls under two limits, and under one, in one slot and in the same script calls.
      { namespace, plenty: identityIn(slot, namespace), burst, timeoutMs: 10_000 },
    );
    try {
      const first = await cluster.nodeOfSlot(slot);
      const [second, third] = cluster.nodes.slice(0, 3).filter((node) => node !== first);
      const owners = [first, second!, third!];
      await crowd.going();
      crowd.askFor('scarce');
      // Without a state of its own it would be told `TRYAGAIN` on the way, which node-redis does not do.
      do await crowd.decides();
      while (!crowd.admitted.has('scarce'));
      // All keys of the slot leave at once, the record of their node among them.
      for (const [i, to] of owners.slice(1).entries()) {
        await cluster.moveSlot(slot, owners[i]!, to, {
          during: () => sleep(200),
        });
        await crowd.decides();
      }
      await crowd.exhausts();
      await crowd.stop();

      const histories = await historiesOf(await primaries());
      const noted = linesOf(histories);
      const hot = histories.get(slot)!;
      const charged = replayInOrder(histories, owners, crowd.known);
      console.log(
        `${noted.length} script calls, ${owners.map((node) => hot.get(node)?.length).join(' + ')} of the slot that moved; ${crowd.summary(charged)}`,
      );
      for (const node of owners) expect(hot.get(node)?.length).toBeGreaterThan(0);
      expect(crowd.excesses(charged)).toEqual([]);
      expect(crowd.degraded, 'a move is no failure').toBe(0);
      expect(total(crowd.admitted)).toBe(total(charged));
      expect(new Set(noted)).toEqual(new Set(crowd.answered));
      expect(crowd.admitted.get('scarce')).toBe(burst);
      const scarce = owners.map((node) =>
        chargesOf(hot.get(node)!, crowd.known).get(crowd.keyOf('scarce')),
      );
      expect(
        scarce.every((units) => units! > 0),
        'its burst was spent on all of them',
      ).toBe(true);
    } finally {
      await crowd.close();
      await flush();
    }
  });

  test.each<[string, number, (fault: Death) => Promise<Histories>]>([
    [
      'under load',
      0,
      async ({ failing, crowd, scarce }) => {
        // Something must survive: the primary has decided calls, and its replica has heard of them.
        await waitUntil('the primary to decide', async () => {
          return linesOf(await historiesOf([failing]), failing).length > 0;
        });
        await failing.command('WAIT', '1', '5000');
        crowd.askFor(scarce);
        await failing.kill();
        return new Map();
      },
    ],
    [
      'when its replica has not heard of it for long',
      1,
      async ({ failing, successor, crowd, scarce }) => {
        await successor.stop();
        await failing.command('CLIENT', 'KILL', 'TYPE', 'replica');
        crowd.askFor(scarce);
        await crowd.exhausts();
        await runNoMore(failing);
        const died = await historiesOf([failing]);
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
      const crowd = new Crowd(
        (['open', 'closed'] as const).map((failStrategy) => ({
          door: { library: 'ioredis', cluster: cluster.addresses },
          failStrategy,
        })),
        { namespace },
      );
      try {
        await crowd.going();
        const died = await inject({ failing, successor, crowd, scarce });
        await waitUntil('the replica to take over', async () => {
          return (await successor.info('replication'))['role'] === 'master';
        });
        await crowd.exhausts();
        await crowd.stop();

        const { known } = crowd;
        const histories = await historiesOf(await primaries());
        const owners = [failing, successor];
        const charged = replayInOrder(histories, owners, known);
        replayInOrder(died, owners, known);
        const kept = new Set(linesOf(histories));
        const lost = [...new Set([...linesOf(died), ...crowd.answered])].filter(
          (line) => !kept.has(line),
        );
        const gone = chargesOf(lost, known);
        const admitted = crowd.admitted.get(scarce)!;
        console.log(
          `${name}: lost ${lost.length} of ${kept.size + lost.length} script calls; ${crowd.summary(charged, gone)}; ` +
            `one identity was admitted ${admitted} under a burst of ${BURST}`,
        );
        expect(crowd.excesses(charged, gone)).toEqual([]);
        expect(crowd.degraded).toBeGreaterThan(0);
        const survived = linesOf(histories, failing);
        expect(survived.length).toBeGreaterThan(0);
        expect(linesOf(histories, successor).length).toBeGreaterThan(0);
        // All that is replicated is so in order.
        const last = Math.max(...survived.map(timeOf));
        expect(lost.filter((line) => timeOf(line) < last)).toEqual([]);
        if (died.size > 0) {
          expect(gone.get(crowd.keyOf(scarce))).toBe(BURST);
          expect(admitted).toBeGreaterThan(BURST);
        }
      } finally {
        await crowd.close();
        await flush();
      }
    },
  );
});

function identityIn(slot: number, namespace: string): string {
  for (let i = 0; ; i++) {
    if (slotOfKey(keyOf(namespace, `plenty-${i}`)) === slot) return `plenty-${i}`;
  }
}

interface Death {
  readonly failing: ClusterNode;
  readonly successor: ClusterNode;
  readonly crowd: Crowd;
  /** An identity of the failing's. */
  readonly scarce: string;
}

function linesOf(histories: Histories, writer?: ClusterNode): string[] {
  return [...histories.values()].flatMap((ofSlot) =>
    writer === undefined ? [...ofSlot.values()].flat() : (ofSlot.get(writer) ?? []),
  );
}

/** Each slot from nothing, over the nodes that owned it one after another. */
function replayInOrder(histories: Histories, owners: readonly ClusterNode[], known: Known): Counts {
  const charged = new Map<string, number>();
  for (const ofSlot of histories.values()) {
    const writers = [...ofSlot.keys()].sort((a, b) => owners.indexOf(a) - owners.indexOf(b));
    const history = writers.flatMap((writer) => ofSlot.get(writer)!);
    for (const [key, units] of replay(history, known)) count(charged, key, units);
  }
  return charged;
}
