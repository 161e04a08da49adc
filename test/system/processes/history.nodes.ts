import { slotOfKey } from '../../kit/servers/index.mjs';
import type { ClusterNode, RedisCluster } from '../../kit/servers/redis-cluster.mjs';
import { count, replay } from './history.replay.ts';
import type { Counts, Known } from './history.replay.ts';
import { LOG } from './history.script.ts';

/** The records of each node, by slot. */
export type Histories = Map<number, Map<ClusterNode, string[]>>;

/** The nodes that answer as primaries. */
export async function primariesOf({ nodes }: RedisCluster): Promise<ClusterNode[]> {
  const owners = await Promise.all(
    nodes.map(async (node) => {
      return node.answers && (await node.info('replication'))['role'] === 'master' ? [node] : [];
    }),
  );
  return owners.flat();
}

/** Reads the records that these nodes have, their own and those that moved to them. */
export async function historiesOf(
  cluster: RedisCluster,
  nodes: readonly ClusterNode[],
): Promise<Histories> {
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
}

export function linesOf(histories: Histories, writer?: ClusterNode): string[] {
  return [...histories.values()].flatMap((ofSlot) =>
    writer === undefined ? [...ofSlot.values()].flat() : (ofSlot.get(writer) ?? []),
  );
}

/** Replays each slot from nothing, over the nodes that owned it one after another. */
export function replayInOrder(
  histories: Histories,
  owners: readonly ClusterNode[],
  known: Known,
): Counts {
  const charged = new Map<string, number>();
  for (const ofSlot of histories.values()) {
    const writers = [...ofSlot.keys()].sort((a, b) => owners.indexOf(a) - owners.indexOf(b));
    const history = writers.flatMap((writer) => ofSlot.get(writer)!);
    for (const [key, units] of replay(history, known)) count(charged, key, units);
  }
  return charged;
}

/** The most identities that one script call of a history decided. */
export function mostTogether(lines: readonly string[]): number {
  return Math.max(...lines.map((line) => new Set(line.split('|', 1)[0]!.split(' ')).size));
}
