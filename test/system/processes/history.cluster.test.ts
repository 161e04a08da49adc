import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { slotOfKey, startCluster, waitUntil } from '../../kit/servers/index.mjs';
import type { ClusterNode, RedisCluster } from '../../kit/servers/redis-cluster.mjs';
import { BURST, LoadGroup, keyOf } from './history.load.ts';
import { chargesOf, count, replay, timeOf, total } from './history.replay.ts';
import type { Counts, Known } from './history.replay.ts';
import { LOG, runNoMore } from './history.script.ts';

/** The records of each node, by slot. */
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
    const load = new LoadGroup(
      (['ioredis', 'node-redis', 'ioredis'] as const).map((library, i) => ({
        door: { library, cluster: cluster.addresses },
        failStrategy: i === 0 ? 'closed' : 'open',
      })),
      // Calls under two limits and under one, in one slot and in the same script calls.
      { namespace, plenty: identityIn(slot, namespace), burst, timeoutMs: 10_000 },
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

      const histories = await historiesOf(await primaries());
      const noted = linesOf(histories);
      const hot = histories.get(slot)!;
      const charged = replayInOrder(histories, owners, load.known);
      console.log(
        `${noted.length} script calls, ${owners.map((node) => hot.get(node)?.length).join(' + ')} of the slot that moved; ${load.summary(charged)}`,
      );
      for (const node of owners) expect(hot.get(node)?.length).toBeGreaterThan(0);
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
          return linesOf(await historiesOf([failing]), failing).length > 0;
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
      const load = new LoadGroup(
        (['open', 'closed'] as const).map((failStrategy) => ({
          door: { library: 'ioredis', cluster: cluster.addresses },
          failStrategy,
        })),
        { namespace },
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
        const histories = await historiesOf(await primaries());
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

function identityIn(slot: number, namespace: string): string {
  for (let i = 0; ; i++) {
    if (slotOfKey(keyOf(namespace, `plenty-${i}`)) === slot) return `plenty-${i}`;
  }
}

interface Death {
  readonly failing: ClusterNode;
  readonly successor: ClusterNode;
  readonly load: LoadGroup;
  /** An identity of the failing node. */
  readonly scarce: string;
}

function linesOf(histories: Histories, writer?: ClusterNode): string[] {
  return [...histories.values()].flatMap((ofSlot) =>
    writer === undefined ? [...ofSlot.values()].flat() : (ofSlot.get(writer) ?? []),
  );
}

/** Replays each slot from nothing, over the nodes that owned it one after another. */
function replayInOrder(histories: Histories, owners: readonly ClusterNode[], known: Known): Counts {
  const charged = new Map<string, number>();
  for (const ofSlot of histories.values()) {
    const writers = [...ofSlot.keys()].sort((a, b) => owners.indexOf(a) - owners.indexOf(b));
    const history = writers.flatMap((writer) => ofSlot.get(writer)!);
    for (const [key, units] of replay(history, known)) count(charged, key, units);
  }
  return charged;
}
