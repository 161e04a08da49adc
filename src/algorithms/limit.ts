import type { AlgorithmName } from '../base/decision.ts';
import { readDuration } from '../base/duration.ts';
import { readBoolean, readInteger, readName } from '../options/read-options.ts';
import type { GivenOptions } from '../options/read-options.ts';

/** From here on doubles skip whole numbers. */
export const FIRST_INEXACT: number = 2 ** 53;
/** Microseconds: a clock that stepped back by no more is left alone. */
export const JITTER = 1_000_000;
export const MAX_UNITS = 1_000_000_000;
export const YEAR_MS: number = 366 * 86_400_000;

/**
 * One limit's numbers at one cost, ready for both twins. Made once per limit and cost, then shared by every
 * call: calls that share their plans are sent as keys alone.
 */
export interface Plan {
  /** Units asked for. */
  readonly cost: number;
  /** How many integers an answer to this plan has. */
  readonly width: number;
  /** The algorithm's name and arguments, as the Lua twin reads them. */
  readonly args: readonly string[];
  /** The store's time, in Unix milliseconds, from which and before which the plan holds; not there where it always does. */
  readonly from?: number;
  readonly until?: number;
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
  /** A string as it stands in Redis; where Redis keeps another type, an object that only this algorithm reads. */
  readonly value: unknown;
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
export interface Algorithm<P extends Plan = Plan, S extends State = State, R = unknown> {
  /** The same plan at another cost. */
  price(plan: P, units: number): P;
  /** Why this plan cannot be decided at this time, where that can happen. */
  failure?(plan: P, now: number): string | undefined;
  /** The state behind a stored value, a fresh one for none, or undefined where the value is not ours. */
  load(value: unknown, now: number): S | undefined;
  /** Whether the limit lets the call pass. Leaves the state as it was, but for a pardon. */
  judge(state: S, plan: P, now: number): boolean;
  /** Takes what `judge` let pass. */
  charge(state: S, plan: P, now: number): void;
  /** The most units that `judge` would let pass right now. */
  fits(state: S, plan: P, now: number): number;
  /** The most units that may still be taken on, debt included. */
  room(state: S, plan: P, now: number): number;
  /** Takes the cost whatever is left, as far into debt as the limit allows. */
  penalize(state: S, plan: P, now: number): void;
  /** Gives the cost back, and never more than was taken; `mark` says of which charge. */
  refund(state: S, plan: P, mark: number, now: number): void;
  /** What `restore` needs to know of the charge just made, whatever becomes of the limit; '-' for no charge. */
  receipt(state: S, plan: P): string;
  /** What a receipt says; undefined where it is none of this algorithm's. */
  parse(receipt: string): R | undefined;
  /** Gives back that many of the units that the receipt is for, and never more than was taken. */
  restore(state: S, plan: P, receipt: R, units: number, now: number): void;
  /** The integers from which `read` derives everything, in the order of the Lua twin. */
  answer(state: S, plan: P, passes: boolean, now: number): readonly number[];
  /** What is to be kept; undefined where nothing of the state is left. */
  save(state: S, now: number): Saved | undefined;
  /** What an answer of either twin means. */
  read(plan: P, reply: readonly number[], at: number): Verdict;
  /** What `refund` needs to know of the charge that this answer tells of. */
  mark(plan: P, reply: readonly number[], at: number, now: number): number;
  /** Only of an algorithm that lends places. */
  readonly lending?: Lending<P, S>;
}

/** What an algorithm adds that lends places: `charge` takes one for the lease, or extends it. */
interface Lending<P extends Plan = Plan, S extends State = State> {
  /** The same plan for this lease. */
  named(plan: P, lease: string): P;
  holds(state: S, plan: P, now: number): boolean;
  /** Frees the place, if the lease has one. */
  release(state: S, plan: P, now: number): void;
}

/** What every limit may be given. */
export interface LimitOptions {
  /** In decisions, headers, metrics and keys: `[A-Za-z0-9._-]{1,64}`. One limit of a limiter may have none. */
  name?: string;
  /**
   * Only count and report what this limit would refuse, and never refuse: to try a limit on real traffic. It is
   * charged for what passes it and all limits that are enforced. Default false.
   */
  shadow?: boolean;
  /**
   * Units that may be owed beyond what is allowed, by `penalize` and by reservations that cost more than was
   * thought; a whole number from 0 to 1,000,000,000. Default 0.
   */
  maxDebt?: number;
}

/** What a limit that was given no name is called. */
export const DEFAULT_LIMIT_NAME = 'default';

/**
 * One rule: an algorithm and its numbers. Made by `tokenBucket(…)`, `slidingWindow(…)`, `slidingWindowLog(…)`,
 * `fixedWindow(…)`, `concurrency(…)`.
 *
 * @example
 * const perMinute: Limit = tokenBucket({ name: 'per-minute', rate: 100, period: '1m' });
 */
export abstract class Limit {
  abstract readonly algorithm: AlgorithmName | 'block';
  /** In decisions, headers, metrics and keys. `'default'` where the limit was given none. */
  readonly name: string;
  /** Whether it only counts and reports. */
  readonly shadow: boolean;
  /** Units that may be owed. */
  readonly maxDebt: number;
  /** The most that may pass at once: a call of a greater cost can never pass. */
  abstract readonly capacity: number;
  /**
   * The time that `capacity` refers to, in milliseconds: a window's length, or how long an empty bucket takes to fill.
   * Undefined where nothing comes back with time (concurrency), or windows differ in length (a calendar's months and
   * years).
   */
  abstract readonly windowMs: number | undefined;

  /** @internal */
  abstract readonly twin: Algorithm;

  readonly #given: Readonly<Record<string, unknown>> | undefined;
  #spelling: string | undefined;

  /** @internal */
  constructor(given?: GivenOptions) {
    this.#given = given?.values;
    this.name = given?.optional('name', readName, undefined) ?? DEFAULT_LIMIT_NAME;
    this.shadow = given?.optional('shadow', readBoolean, undefined) ?? false;
    this.maxDebt = given?.optional('maxDebt', readDebt, undefined) ?? 0;
  }

  /** @internal Two limits of one spelling decide alike. */
  get spelling(): string {
    this.#spelling ??= `${this.algorithm} ${JSON.stringify(this.#given)}`;
    return this.#spelling;
  }

  /** @internal */
  abstract plan(cost: number, nowMs: number): Plan;
}

/** What every copy of the package marks its limits with. */
export const LIMIT_BRAND: unique symbol = Symbol.for('distributed-rate-limiter.Limit');
Object.defineProperty(Limit.prototype, LIMIT_BRAND, { value: true });

function readDebt(option: string, value: unknown): number {
  return readInteger(option, value, 0, MAX_UNITS);
}

export function readUnits(option: string, value: unknown): number {
  return readInteger(option, value, 1, MAX_UNITS);
}

/** In milliseconds. */
export function readPeriod(option: string, value: unknown): number {
  return readDuration(option, value, 1, YEAR_MS);
}
