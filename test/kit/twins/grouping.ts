import { keysOf } from '../../../src/script/call-shape.ts';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import { decideBatch } from '../../../src/stores/redis.ts';
import type { Call } from '../../../src/stores/store.ts';

/** Entries that go into one script call, and how they are written there. */
export interface Grouping {
  readonly keys: readonly string[];
  readonly args: readonly string[];
  readonly entries: readonly Entry[];
}

/** As production groups them: neighbours share a run, and a key where they can. May be several script calls. */
export function groupedByProduction(entries: readonly Entry[]): Grouping[] {
  const groupings: Grouping[] = [];
  for (let from = 0; from < entries.length;) {
    const { keys, args, taken } = decideBatch.encode(entries as readonly Call[], from);
    groupings.push({ keys, args, entries: entries.slice(from, from + taken) });
    from += taken;
  }
  return groupings;
}

/** Groups each entry as a run with its own keys, so that a second call on a key takes the general path. */
export function groupedOneByOne(entries: readonly Entry[]): Grouping {
  return grouped(entries.map((entry) => ({ entry, times: 1 })));
}

/** Each entry in a script call of its own. */
export function groupedApart(entries: readonly Entry[]): Grouping[] {
  return entries.map((entry) => groupedOneByOne([entry]));
}

/** One run per pair: the entry, so many times on one key. */
export function grouped(pairs: readonly { entry: Entry; times: number }[]): Grouping {
  const shapes: Shape[] = [...new Set(pairs.map(({ entry }) => entry.shape))];
  const args = [String(shapes.length), ...shapes.flatMap((shape) => shape.args)];
  for (const { entry, times } of pairs) {
    const details = entry.details ?? [];
    args.push(String(shapes.indexOf(entry.shape) + 1), '1', String(times), ...details);
  }
  return {
    keys: pairs.flatMap(({ entry }) => keysOf(entry)),
    args,
    entries: pairs.flatMap(({ entry, times }) => Array<Entry>(times).fill(entry)),
  };
}
