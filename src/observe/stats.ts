import type { Decision } from '../base/decision.ts';
import type { StoreFailure } from '../base/errors.ts';

/** What became of a call that asked for a decision: it passed, it did not, or it rejected (`failStrategy: 'throw'`). */
export type Outcome = 'allowed' | 'refused' | 'rejected';

/** How many decisions there were for each reason that can occur. */
export type ReasonCounts = Readonly<Partial<Record<Decision['reason'] | StoreFailure, number>>>;

/** What one limit has said so far. Each call that the store decided counts once under each of its limits. */
export interface LimitStats {
  /** This limit let the call pass, whatever the others said. */
  readonly allowed: number;
  /** This limit refused. */
  readonly refused: number;
  /** This limit would have refused, but is a shadow. */
  readonly shadowRefused: number;
  /** The call passed, and left this limit with at most 20 % of its capacity (of a concurrency limit: of its places). */
  readonly nearLimit: number;
  /** Leases that this process holds right now; only of a concurrency limit. */
  readonly leasesHeld?: number;
}

/**
 * What a limiter has counted since it was made, in this process. `allow`, `allowUpTo`, `acquire`, `reserve` and each
 * ask of `wait` count as one decision; `peek` and the verbs that decide nothing do not.
 */
export interface LimiterStats {
  readonly namespace: string;
  /** Decisions by outcome and reason: every reason that can occur is there from the start, with 0. */
  readonly decisions: Readonly<Record<Outcome, ReasonCounts>>;
  /** By name: `'default'` for the limit without one; `'other'` for all names beyond the first 100. */
  readonly limits: Readonly<Record<string, LimitStats>>;
}

/** `ready`: it answers. `hung`: connected, but not answering. `away`: no connection. `connecting`: not yet. */
export type NodeState = 'ready' | 'connecting' | 'hung' | 'away';

/** What one connection has counted since it was made, and how it is now. */
export interface StoreStats {
  /** Script calls sent, without those that were sent again after `NOSCRIPT`. */
  readonly calls: number;
  /** Calls of limiters that travelled in them. */
  readonly entries: number;
  readonly keys: number;
  /** Script calls that were sent again, with the script's text, because the server did not know it. */
  readonly noScript: number;
  /** Replies to script calls whose callers had been answered already. */
  readonly lateReplies: number;
  /** Script calls that never got a reply, and are no longer waited for. */
  readonly writtenOff: number;
  /** Calls of limiters that the client has not settled yet. */
  readonly inFlight: number;
  /** By node on a cluster; a single one, `''`, elsewhere. */
  readonly nodes: Readonly<Record<string, NodeState>>;
}

/** Names become labels of metrics: beyond this many the rest are counted together. */
const MAX_NAMES = 100;
const OTHERS = 'other';

/** What `name` is counted as beside those that are known: itself, while there is room. */
export function labelOf(known: ReadonlyMap<string, unknown>, name: string): string {
  return known.has(name) || known.size < MAX_NAMES ? name : OTHERS;
}

/** The sum of two limiters of one name. */
export function addLimiterStats(a: LimiterStats, b: LimiterStats): LimiterStats {
  return {
    namespace: b.namespace,
    decisions: {
      allowed: add(a.decisions.allowed, b.decisions.allowed),
      refused: add(a.decisions.refused, b.decisions.refused),
      rejected: add(a.decisions.rejected, b.decisions.rejected),
    },
    limits: merge(a.limits, b.limits, add),
  };
}

/** What stays of a limiter that has ended. */
export function endedLimiterStats(stats: LimiterStats): LimiterStats {
  const limits = Object.entries(stats.limits).map(
    ([name, { allowed, refused, shadowRefused, nearLimit }]) =>
      [name, { allowed, refused, shadowRefused, nearLimit }] as const,
  );
  return { ...stats, limits: Object.fromEntries(limits) };
}

const WORST: readonly NodeState[] = ['ready', 'connecting', 'hung', 'away'];

/** The sum of two connections to one place; a node is in the worse of its two states. */
export function addStoreStats(
  { nodes: ofA, ...a }: StoreStats,
  { nodes: ofB, ...b }: StoreStats,
): StoreStats {
  return { ...add(a, b), nodes: merge(ofA, ofB, worse) };
}

function worse(one: NodeState, other: NodeState): NodeState {
  return WORST.indexOf(one) > WORST.indexOf(other) ? one : other;
}

/** What stays of a connection that has ended. */
export function endedStoreStats(stats: StoreStats): StoreStats {
  return { ...stats, inFlight: 0, nodes: {} };
}

function add<T extends object>(a: T, b: T): T {
  return merge(a as Record<string, number>, b as Record<string, number>, plus) as T;
}

function plus(one: number, other: number): number {
  return one + other;
}

/** With the keys of both; `join` makes one value of two. A limit may be called `__proto__`. */
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
