import type { Decision, DecisionSource } from '../base/decision.ts';
import type { StoreFailure } from '../base/errors.ts';

/** The outcome of a call that asked for a decision: allowed, refused, or rejected (`failStrategy: 'throw'`). */
export type Outcome = 'allowed' | 'refused' | 'rejected';

/** The number of decisions for each possible reason. */
export type ReasonCounts = Readonly<Partial<Record<Decision['reason'] | StoreFailure, number>>>;

/** Counts of one limit. Each call that the store decided counts once under each of its limits. */
export interface LimitStats {
  /** What the limit counts; only in a limiter with units. */
  readonly unit?: string;
  /** Calls that this limit let pass, whatever the others said. */
  readonly allowed: number;
  /** Calls that this limit refused. */
  readonly refused: number;
  /** Calls that this limit would have refused, if it were not a shadow. */
  readonly shadowRefused: number;
  /**
   * Calls that passed and left this limit with at most 20 % of its capacity (of a concurrency limit: of its places).
   */
  readonly nearLimit: number;
  /** Bans that refusals by this limit started; only of a limit with `ban`. */
  readonly bans?: number;
  /** Bans that would have started, if the limit were not a shadow; only of a limit with `ban`. */
  readonly shadowBans?: number;
  /** Leases that this process holds now; only of a concurrency limit. */
  readonly leasesHeld?: number;
}

/**
 * Units that a process was given beforehand; where calls ask limits for different numbers of units, such calls. The rest
 * of `charged` is still held, or has lapsed.
 */
export interface PrepaidUnits {
  /** Units that a script call charged beforehand. */
  readonly charged: number;
  /** Units of them by which calls have passed. */
  readonly spent: number;
}

/**
 * Counts of a limiter in this process since it was made. `allow`, `allowUpTo`, `acquire`, `reserve` and each call of
 * `wait` to the store count as one decision. `peek` and the verbs that decide nothing do not count.
 */
export interface LimiterStats {
  readonly namespace: string;
  /** Decisions by outcome and reason. Every possible reason is present from the start, with 0. */
  readonly decisions: Readonly<Record<Outcome, ReasonCounts>>;
  /**
   * The same decisions by where they were made. Script calls per decision are a connection's `calls` (`StoreStats`) by
   * the sum of these.
   */
  readonly sources: Readonly<Record<DecisionSource, number>>;
  /** Units of `prepay`; absent without it. */
  readonly prepaid?: PrepaidUnits;
  /** Counters by limit name: `'default'` for the unnamed limit, `'other'` for all names beyond the first 100. */
  readonly limits: Readonly<Record<string, LimitStats>>;
}

/** `ready`: answering. `hung`: connected, but not answering. `away`: no connection. `connecting`: not connected yet. */
export type NodeState = 'ready' | 'connecting' | 'hung' | 'away';

/** Counts of one connection since it was made, and its present state. */
export interface StoreStats {
  /** Script calls sent, without those resent after `NOSCRIPT`. */
  readonly calls: number;
  /** Limiter calls that they carried. */
  readonly entries: number;
  readonly keys: number;
  /** Script calls resent with the script's text, because the server did not know it. */
  readonly noScript: number;
  /** Replies to script calls whose callers had already been answered. */
  readonly lateReplies: number;
  /** Script calls that never got a reply, and are given up. */
  readonly writtenOff: number;
  /** Limiter calls that are pending. */
  readonly inFlight: number;
  /** States by node on a cluster; otherwise of one node, `''`. */
  readonly nodes: Readonly<Record<string, NodeState>>;
}

/** Names become metric labels: names beyond this number are counted together. */
const MAX_NAMES = 100;
const OTHERS = 'other';

/** The label that `name` is counted under: itself, as long as there is room beside the known ones. */
export function labelOf(known: ReadonlyMap<string, unknown>, name: string): string {
  return known.has(name) || known.size < MAX_NAMES ? name : OTHERS;
}

/** The sum of two limiters of the same name. */
export function addLimiterStats(a: LimiterStats, b: LimiterStats): LimiterStats {
  return {
    namespace: b.namespace,
    decisions: {
      allowed: add(a.decisions.allowed, b.decisions.allowed),
      refused: add(a.decisions.refused, b.decisions.refused),
      rejected: add(a.decisions.rejected, b.decisions.rejected),
    },
    sources: add(a.sources, b.sources),
    ...prepaidOf(a, b),
    limits: merge(a.limits, b.limits, addLimitStats),
  };
}

function prepaidOf(...stats: readonly LimiterStats[]): { prepaid?: PrepaidUnits } {
  const all = stats.flatMap(({ prepaid }) => prepaid ?? []);
  const sum = (of: (units: PrepaidUnits) => number): number =>
    all.reduce((total, units) => total + of(units), 0);
  return all.length === 0
    ? {}
    : { prepaid: { charged: sum(({ charged }) => charged), spent: sum(({ spent }) => spent) } };
}

/** The part of an ended limiter's stats that is kept. */
export function endedLimiterStats(stats: LimiterStats): LimiterStats {
  const limits = Object.entries(stats.limits).map(
    ([name, { unit, allowed, refused, shadowRefused, nearLimit, bans, shadowBans }]) =>
      [
        name,
        {
          ...(unit === undefined ? {} : { unit }),
          allowed,
          refused,
          shadowRefused,
          nearLimit,
          ...(bans === undefined ? {} : { bans }),
          ...(shadowBans === undefined ? {} : { shadowBans }),
        },
      ] as const,
  );
  return { ...stats, limits: Object.fromEntries(limits) };
}

function addLimitStats(
  { unit, ...a }: LimitStats,
  { unit: latest = unit, ...b }: LimitStats,
): LimitStats {
  const sum = add(a, b);
  return latest === undefined ? sum : { unit: latest, ...sum };
}

const WORST: readonly NodeState[] = ['ready', 'connecting', 'hung', 'away'];

/** The sum of two connections to the same address; each node gets the worse of its two states. */
export function addStoreStats(
  { nodes: ofA, ...a }: StoreStats,
  { nodes: ofB, ...b }: StoreStats,
): StoreStats {
  return { ...add(a, b), nodes: merge(ofA, ofB, worse) };
}

function worse(one: NodeState, other: NodeState): NodeState {
  return WORST.indexOf(one) > WORST.indexOf(other) ? one : other;
}

/** The part of an ended connection's stats that is kept. */
export function endedStoreStats(stats: StoreStats): StoreStats {
  return { ...stats, inFlight: 0, nodes: {} };
}

function add<T extends object>(a: T, b: T): T {
  return merge(a as Record<string, number>, b as Record<string, number>, plus) as T;
}

function plus(one: number, other: number): number {
  return one + other;
}

/** Merges the keys of both; `join` combines two values. Safe for a limit named `__proto__`. */
function merge<T>(
  a: Readonly<Record<string, T>>,
  b: Readonly<Record<string, T>>,
  join: (one: T, other: T) => T,
): Record<string, T> {
  const joined = Object.entries(b).map(
    ([key, value]) => [key, Object.hasOwn(a, key) ? join(a[key]!, value) : value] as const,
  );
  return Object.fromEntries([...Object.entries(a), ...joined]);
}
