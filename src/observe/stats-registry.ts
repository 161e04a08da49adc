import {
  labelOf,
  addLimiterStats,
  addStoreStats,
  endedLimiterStats,
  endedStoreStats,
} from './stats.ts';
import type { LimiterStats, StoreStats } from './stats.ts';

/** What can be asked for its stats. It must not hold its owner, who could then never be forgotten. */
export interface Source<S> {
  stats(): S;
}

interface Group<S> {
  readonly live: Set<Source<S>>;
  /** The sum of those that have ended, so that no counter ever goes down while another of the name lives. */
  ended: S | undefined;
}

/**
 * What of one kind lives in this process, under its name, for exporters to read. It keeps nothing alive: who is
 * forgotten ends, and so does a name with the last that had it.
 */
export class StatsRegistry<S> {
  readonly #groups = new Map<string, Group<S>>();
  readonly #add: (a: S, b: S) => S;
  readonly #past: (stats: S) => S;
  readonly #forgotten = new FinalizationRegistry<() => void>((end) => end());

  /** `past` is what stays of the stats of one that has ended. */
  constructor(add: (a: S, b: S) => S, past: (stats: S) => S) {
    this.#add = add;
    this.#past = past;
  }

  /** Returns what ends it before `owner` is forgotten. */
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

/** By namespace. */
export const liveLimiters: StatsRegistry<LimiterStats> = new StatsRegistry(
  addLimiterStats,
  endedLimiterStats,
);
/** Connections to Redis, by where they lead to. */
export const liveStores: StatsRegistry<StoreStats> = new StatsRegistry(
  addStoreStats,
  endedStoreStats,
);

/** The same of some limiters alone. */
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
