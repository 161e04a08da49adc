import { expect, test } from 'vitest';
import { slotOfKey, startCluster } from '../../kit/servers/index.mjs';
import { LoadGroup } from './history.load.ts';
import { historiesOf, linesOf, primariesOf, replayInOrder } from './history.nodes.ts';

/** A primary without a replica stays away until it goes on. */
const TAGS = 16;
const USERS = 80;
/** Longer than a busy machine takes for any call, and shorter than the primary hangs. */
const TIMEOUT_MS = 2_000;
/** By Redis, of each tag and process, while the primary hangs. */
const DECISIONS = 3;

test('a primary that hangs harms no identity under the tags of the others, and each history replays', async () => {
  const cluster = await startCluster({
    node: { config: { 'cluster-require-full-coverage': 'no' } },
  });
  const members = (['ioredis', 'node-redis'] as const).map((library) => ({
    door: { library, cluster: cluster.addresses },
    failStrategy: 'open' as const,
  }));
  const load = new LoadGroup(members, { tags: TAGS, users: USERS, timeoutMs: TIMEOUT_MS });
  try {
    const [first, hung, last] = cluster.nodes.slice(0, 3);
    const tags = tagsOf(load);
    const owners = new Map(
      await Promise.all(
        [...tags.keys()].map(async (slot) => [slot, await cluster.nodeOfSlot(slot)] as const),
      ),
    );
    const hungTags = [...tags.keys()].filter((slot) => owners.get(slot) === hung);
    const others = [...tags.keys()].filter((slot) => owners.get(slot) !== hung);
    /** Decisions of a process on the identities of a tag. */
    const of = (counts: ReadonlyMap<string, number>, slot: number, process: number): number =>
      tags.get(slot)!.reduce((sum, who) => sum + (counts.get(`${process} ${who}`) ?? 0), 0);
    /** Waits until each process has so many more of these decisions on each of these tags. */
    const eachGets = async (
      what: 'realOf' | 'degradedOf',
      more: number,
      slots: readonly number[],
    ): Promise<void> => {
      const goals = slots.flatMap((slot) =>
        members.map((_, process) => ({
          slot,
          process,
          goal: of(load[what], slot, process) + more,
        })),
      );
      await load.reports(`${more} more in ${what} for each tag`, () =>
        goals.every(({ slot, process, goal }) => of(load[what], slot, process) >= goal),
      );
    };

    await load.going();
    await eachGets('realOf', 1, [...tags.keys()]);
    await hung!.stop();
    // Calls that were made after the primary stopped have reached their deadline: other calls would have, too.
    await eachGets('degradedOf', DECISIONS, hungTags);
    await eachGets('realOf', DECISIONS, others);
    await hung!.cont();
    await eachGets('realOf', DECISIONS, hungTags);
    await load.stop();

    const histories = await historiesOf(cluster, await primariesOf(cluster));
    const charged = replayInOrder(histories, cluster.nodes, load.known);
    const table = [...tags.keys()].map((slot) => ({
      slot,
      node: owners.get(slot) === hung ? 'hung' : owners.get(slot) === first ? 'first' : 'last',
      identities: tags.get(slot)!.length,
      real: members.map((_, process) => of(load.realOf, slot, process)).join(' + '),
      degraded: members.map((_, process) => of(load.degradedOf, slot, process)).join(' + '),
    }));
    console.table(table);
    console.log(`${linesOf(histories).length} script calls; ${load.summary(charged)}`);
    expect(load.excesses(charged)).toEqual([]);
    expect(hungTags.length, 'it has a third of the tags').toBeGreaterThanOrEqual(5);
    for (const node of [first!, last!]) {
      expect([...owners.values()].filter((owner) => owner === node).length).toBeGreaterThanOrEqual(
        5,
      );
    }
    expect(
      table.filter(({ node, degraded }) => node !== 'hung' && degraded !== '0 + 0'),
      'no decision under the other tags was made without Redis',
    ).toEqual([]);
  } finally {
    await load.close();
    await cluster.close();
  }
});

/** The users that the processes call for, by the slot of their tag. */
function tagsOf(load: LoadGroup): Map<number, string[]> {
  const tags = new Map<number, string[]>();
  for (let i = 0; i < USERS; i++) {
    const slot = slotOfKey(load.keyOf(`user-${i}`));
    tags.set(slot, [...(tags.get(slot) ?? []), `user-${i}`]);
  }
  expect(tags.size, 'each tag has an identity').toBe(TAGS);
  return tags;
}
