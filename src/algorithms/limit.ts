/** Algorithm names, as they stand in options and in keys. */
export type AlgorithmName = 'token_bucket';

/**
 * One limit's numbers at one cost, ready for both twins. Made once per limit and cost, then shared by every
 * call: calls that share their plans are sent as keys alone.
 */
export interface Plan {
  /** Units asked for. */
  readonly cost: number;
  /** False where the state is only looked at. */
  readonly charge: boolean;
  /** How many integers an answer to this plan has. */
  readonly width: number;
  /** The algorithm's name and arguments, as the Lua twin reads them. */
  readonly args: readonly string[];
}

/** What one limit says of one call. Times are whole microseconds from the decision on, rounded up. */
export interface Verdict {
  readonly refused: boolean;
  /** Whole units that could pass right now, after this decision. */
  readonly remaining: number;
  /** Until the identity is as if never used. */
  readonly resetUs: number;
  /** Until this cost could pass if nobody else spends; 0 where it passed. */
  readonly retryUs: number;
}

/** A state after a change, as a store keeps it. */
export interface Saved {
  readonly value: string;
  /** Whole milliseconds, never less than the time until the state no longer matters. */
  readonly ttlMs: number;
}

/** What the driver itself notes on a state that it holds during one call. */
export interface State {
  changed: boolean;
}

/**
 * A twin: the same pure steps, under the same names and in the same order, as the Lua file beside it.
 * Both compute on doubles that hold exact integers, so that results are compared with `===`.
 */
export interface Algorithm<P extends Plan = Plan, S extends State = State> {
  /** The state behind a stored value, a fresh one for none, or undefined where the value is not ours. */
  load(value: string | undefined): S | undefined;
  /** Whether the limit lets the call pass. Leaves the state as it was, but for a pardon. */
  judge(state: S, plan: P, now: number): boolean;
  /** Takes what `judge` let pass. */
  charge(state: S, plan: P): void;
  /** The integers from which `read` derives everything, in the order of the Lua twin. */
  answer(state: S, plan: P, passes: boolean, now: number): readonly number[];
  save(state: S, now: number): Saved;
  /** What an answer of either twin means. */
  read(plan: P, reply: readonly number[], at: number): Verdict;
}

/**
 * One rule: an algorithm and its numbers. Made by `tokenBucket(…)`.
 *
 * @example
 * const perMinute: Limit = tokenBucket({ name: 'per-minute', rate: 100, period: '1m' });
 */
export abstract class Limit {
  abstract readonly algorithm: AlgorithmName;
  /** In decisions, headers, metrics and keys. `'default'` where the limit was given none. */
  abstract readonly name: string;
  /** Units allowed per period. */
  abstract readonly rate: number;
  /** The time that `rate` refers to, in whole milliseconds. */
  abstract readonly periodMs: number;
  /** The most that may pass at once: a call of a greater cost can never pass. */
  abstract readonly capacity: number;

  /** @internal */
  abstract readonly twin: Algorithm;
  /** @internal */
  abstract plan(cost: number, charge: boolean): Plan;
}

/** What a limit that was given no name is called. */
export const UNNAMED = 'default';
