import { sharedByCopies } from '../base/copies.ts';
import {
  labelOf,
  addLimiterStats,
  addStoreStats,
  endedLimiterStats,
  endedStoreStats,
} from './stats.ts';
import type { LimiterStats, StoreStats } from './stats.ts';

/** Returns stats on demand. Must not reference its owner, or the owner could never be garbage-collected. */
export interface Source<S> {
  stats(): S;
}

interface Group<S> {
  readonly live: Set<Source<S>>;
  /** The sum of ended sources, so that no counter goes down while another source of the name lives. */
  ended: S | undefined;
}

/**
 * Registry of stats sources by name, read by exporters. Holds its sources weakly; a name is removed with its last
 * source.
 */
export class StatsRegistry<S> {
  readonly #groups = new Map<string, Group<S>>();
  readonly #add: (a: S, b: S) => S;
  readonly #past: (stats: S) => S;
  readonly #forgotten = new FinalizationRegistry<() => void>((end) => end());

  /** `past` returns the part of an ended source's stats that is kept. */
  constructor(add: (a: S, b: S) => S, past: (stats: S) => S) {
    this.#add = add;
    this.#past = past;
  }

  /** Returns a function that ends the registration before `owner` is garbage-collected. */
  register(owner: object, given: string, source: Source<S>): () => void {
    const name = labelOf(this.#groups, given);
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { live: new Set(), ended: undefined };
      this.#groups.set(name, group);
    }
    const mine = group;
    mine.live.add(source);
    const end = (): void => {
      if (mine.live.delete(source)) {
        const past = this.#past(source.stats());
        mine.ended = mine.ended === undefined ? past : this.#add(mine.ended, past);
        if (mine.live.size === 0) {
          this.#groups.delete(name);
        }
      }
    };
    this.#forgotten.register(owner, end, end);
    return () => {
      this.#forgotten.unregister(end);
      end();
    };
  }

  /** One sum for each name. */
  read(): ReadonlyMap<string, S> {
    const sums = new Map<string, S>();
    for (const [name, { live, ended }] of this.#groups) {
      const all = [...live].map((source) => source.stats());
      sums.set(name, (ended === undefined ? all : [ended, ...all]).reduce(this.#add));
    }
    return sums;
  }
}

/** Limiters, by namespace. */
export const liveLimiters: StatsRegistry<LimiterStats> = sharedByCopies(
  'stats of limiters',
  () => new StatsRegistry(addLimiterStats, endedLimiterStats),
);
/** Connections to Redis, by address. */
export const liveStores: StatsRegistry<StoreStats> = sharedByCopies(
  'stats of stores',
  () => new StatsRegistry(addStoreStats, endedStoreStats),
);

/** Sums the stats of the given limiters by namespace. */
export function statsByNamespace(
  limiters: readonly Source<LimiterStats>[],
): ReadonlyMap<string, LimiterStats> {
  const sums = new Map<string, LimiterStats>();
  for (const limiter of limiters) {
    const stats = limiter.stats();
    const name = labelOf(sums, stats.namespace);
    const sum = sums.get(name);
    sums.set(name, sum === undefined ? stats : addLimiterStats(sum, stats));
  }
  return sums;
}
