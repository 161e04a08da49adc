import { mark } from '../base/copies.ts';
import type { AlgorithmName } from '../base/decision.ts';
import { readDuration } from '../base/duration.ts';
import { invalidOption } from '../base/errors.ts';
import { readBan } from './ban-options.ts';
import type { BanNumbers, BanOptions } from './ban-options.ts';
import { isName, readBoolean, readInteger, readName, readUnit } from '../options/read-options.ts';
import type { GivenOptions } from '../options/read-options.ts';

/** From here on doubles skip whole numbers. */
export const FIRST_INEXACT: number = 2 ** 53;
/** 1 s in microseconds: a clock that stepped back by no more is not corrected. */
export const JITTER = 1_000_000;
/** 3 s in microseconds: no slice ends later after it was given. */
export const LONGEST_SLICE_US = 3_000_000;
export const MAX_UNITS = 1_000_000_000;
export const YEAR_MS: number = 366 * 86_400_000;

/**
 * One limit's numbers at one cost, ready for both twins. Made once per limit and cost, then shared by every call, so
 * that calls of one plan are sent as keys alone.
 */
export interface Plan {
  /** Units asked for. */
  readonly cost: number;
  /** Number of integers in an answer to this plan. */
  readonly width: number;
  /** The algorithm's name and arguments, as the Lua twin reads them. */
  readonly args: readonly string[];
  /** The store's time, in Unix ms, from which (inclusive) and until which (exclusive) the plan holds; absent if always. */
  readonly from?: number;
  readonly until?: number;
}

/** One limit's verdict on one call. Times are whole microseconds from the decision on, rounded up. */
export interface Verdict {
  readonly refused: boolean;
  /** Whole units that could pass now, after this decision. */
  readonly remaining: number;
  /** Whole units that count beyond the limit: owed ones, or places taken before `max` was lowered. */
  readonly over: number;
  /** Time until the identity counts as never used. */
  readonly resetUs: number;
  /** Time until this cost could pass if no other call is charged; 0 if it passed. */
  readonly retryUs: number;
}

/** A state after a change. */
export interface Encoded {
  /** The string that Redis keeps; if Redis keeps another type, an object that only this algorithm reads. */
  readonly value: unknown;
  /** The instant from which on the state no longer counts, in whole microseconds since the Unix epoch. */
  readonly rests: number;
}

/** A value as a store keeps it. */
export interface Saved {
  readonly value: unknown;
  /** Whole milliseconds, never less than the time until the value no longer counts. */
  readonly ttlMs: number;
}

/** The driver's own note on a state during one call. */
export interface State {
  changed: boolean;
}

/** What a process asks for when it asks for a slice. Times are in microseconds. */
export interface SliceRequest {
  /** Units that it expects to spend. */
  readonly want: number;
  /** How long its units must be good for at least. */
  readonly hold: number;
  /** How far a turn may reach beyond the burst; 0 for no turns. */
  readonly ahead: number;
  /** Processes that hold a slice, this one included. */
  readonly holders: number;
}

/**
 * The steps by which a limit gives a process a slice: units that are charged now and spent later, without asking. A
 * slice of a token bucket is a piece of the line on which each unit has an interval of its own, so it may be spent when
 * the plain step would have passed those very units. A slice of a window is a part of its count.
 */
export interface Slicing<P extends Plan = Plan, S extends State = State> {
  /** The most units of a slice that may be spent at once; 0 for none. Called after a call of the plan passed. */
  offer(state: S, plan: P, request: SliceRequest, now: number): number;
  /** The most units of a turn, which may lie in the future; 0 for none. Called after the call was decided. */
  turn(state: S, plan: P, request: SliceRequest, now: number): number;
  /** The instant from which on the last of so many units can be spent; up to 2 µs late. */
  opens(state: S, plan: P, units: number, request: SliceRequest, now: number): number;
  /** The instant at which a slice ends at the latest. */
  ends(state: S, plan: P, request: SliceRequest, now: number): number;
  /**
   * Charges a slice that ends at `ends`. The answer to the call stays as it was. `opens`: from when on all units of the
   * call's other limits can be spent. Returns where the slice begins, after now: whole microseconds, and the n-ths.
   */
  cut(
    state: S,
    plan: P,
    units: number,
    request: SliceRequest,
    opens: number,
    ends: number,
    now: number,
  ): readonly [number, number];
}

/**
 * A twin: the same pure steps, under the same names and in the same order, as the Lua file beside it. Both compute on
 * doubles that hold exact integers, so results can be compared with `===`.
 */
export interface Algorithm<P extends Plan = Plan, S extends State = State, R = unknown> {
  /**
   * If the state is a string that shares the identity's value with other limits' states: the letter that names the
   * algorithm and the version of its text there. The text begins with the digits of `rests`. Absent if the state has a
   * key of its own.
   */
  readonly letter?: string;
  /** The same plan at another cost. */
  price(plan: P, units: number): P;
  /** Why this plan cannot be decided at this time; undefined if it can. */
  failure?(plan: P, now: number): string | undefined;
  /** The state behind a stored value, a fresh one for none, or undefined if this library did not write the value. */
  load(value: unknown, now: number): S | undefined;
  /** Whether the limit lets the call pass. Changes the state only to correct it after a clock step or a new number. */
  judge(state: S, plan: P, now: number): boolean;
  /** Charges the cost that `judge` let pass. */
  charge(state: S, plan: P, now: number): void;
  /** Notes that the cost was refused, if later answers depend on when. */
  refuse?(state: S, plan: P, now: number): void;
  /** The most units that `judge` would let pass now. */
  fits(state: S, plan: P, now: number): number;
  /** The most units that can still be charged, debt included. */
  room(state: S, plan: P, now: number): number;
  /** Charges the cost even if it does not fit, as far into debt as the limit allows. */
  penalize(state: S, plan: P, now: number): void;
  /** Gives the cost back, and never more than is charged. `mark` names the charge. */
  refund(state: S, plan: P, mark: string, now: number): void;
  /** What `restore` must know of the charge just made, even if the limit changes; '-' for no charge. */
  receipt(state: S, plan: P): string;
  /** Reads a receipt; undefined if this algorithm did not write it. */
  parse(receipt: string): R | undefined;
  /** Gives back `units` of the receipt's charge, and never more than is charged. */
  restore(state: S, plan: P, receipt: R, units: number, now: number): void;
  /** Gives units back as a gift, and never more than count. Absent if each unit belongs to a caller that can give it back. */
  credit?(state: S, plan: P, units: number, now: number): void;
  /**
   * Forgets all charges if some of the state has to be kept. False if the key can be deleted, as it is without this
   * method.
   */
  reset?(state: S, plan: P, now: number): boolean;
  /** The integers from which `read` derives a verdict, in the order of the Lua twin. */
  answer(state: S, plan: P, passes: boolean, now: number): readonly number[];
  /** The mark of the charge just made, if the integers of the answer do not tell it. */
  aside?(state: S, plan: P): string | undefined;
  /** The state as a store keeps it; undefined if nothing is left of it. Called for changed states only. */
  encode(state: S, now: number): Encoded | undefined;
  /** Derives the verdict from an answer of either twin. */
  read(plan: P, reply: readonly number[], at: number): Verdict;
  /**
   * What the numbers of an answer to `told`, the same limit's plan at some cost, say of `plan` `age` microseconds later if
   * no call is charged meanwhile: an answer to `plan`, or undefined if they do not tell. Absent if only a store can refuse.
   */
  later?(
    plan: P,
    told: P,
    reply: readonly number[],
    at: number,
    age: number,
  ): readonly number[] | undefined;
  /**
   * Names the counters of this plan on a state, where plans of several kinds have counters of their own. A kind without a
   * counter yet inherits from the others, so its numbers may then fall at any time.
   */
  kind?(plan: P): string;
  /** The mark by which `refund` finds the charge of this answer. */
  mark(plan: P, reply: readonly number[], at: number, now: number): string;
  /** How a process is given units to spend by itself; absent if it asks for each call. */
  readonly slicing?: Slicing<P, S>;
  /** Present if the algorithm lends places. */
  readonly lending?: Lending<P, S>;
}

/** The additional steps of an algorithm that lends places. Its `charge` takes a place for the lease, or extends it. */
interface Lending<P extends Plan = Plan, S extends State = State> {
  /** The plan for this lease. */
  named(plan: P, lease: string): P;
  holds(state: S, plan: P, now: number): boolean;
  /** Frees the place, if the lease has one. */
  release(state: S, plan: P, now: number): void;
}

/** Options of every limit. `By` is the union of the parts that it is given, `Unit` its unit. */
export interface LimitOptions<By extends string = never, Unit extends string = never> {
  /** In decisions, headers, metrics and keys: `[A-Za-z0-9._-]{1,64}`. One limit of a limiter may have none. */
  name?: string;
  /**
   * The parts of the identity that this limit counts by: `'org'`, or `['org', 'user']`, a set of at most 8 names of
   * `[A-Za-z0-9._-]{1,64}`. `[]` is one counter for all. If one limit of a limiter says `by`, all must, and identities
   * are named parts: `{ org: 'acme', user: 42 }`.
   */
  by?: By | readonly By[];
  /**
   * Count and report what this limit would refuse, but never refuse: to try a limit on real traffic. It is charged
   * for calls that pass it and all enforced limits. Default false.
   */
  shadow?: boolean;
  /**
   * Units that may be owed beyond the limit, by `penalize` and by reservations that cost more than estimated; a whole
   * number from 0 to 1,000,000,000. Default 0.
   */
  maxDebt?: number;
  /**
   * What the limit counts: `[a-z0-9_]{1,32}`, such as `'tokens'`. As soon as one limit of a limiter has a unit, calls
   * give their cost by name, `{ tokens: 1200 }`, and a limit without one counts `'calls'`.
   */
  unit?: Unit;
  /**
   * Blocks an identity that this limit keeps refusing, in a limiter with `blocks: true`: more than so many refusals
   * within a time, and for how long. A shadow's ban is only counted. Default: never.
   */
  ban?: BanOptions;
}

/** Name of a limit that was given none. */
export const DEFAULT_LIMIT_NAME = 'default';
/** What a limit without a unit counts, beside limits that have one. */
export const CALLS = 'calls';

/**
 * One rule: an algorithm and its numbers. Made by `tokenBucket(…)`, `slidingWindow(…)`, `slidingWindowLog(…)`,
 * `fixedWindow(…)`, `concurrency(…)`. `By` is the union of the parts of an identity that it counts by; `never` for
 * whole identities.
 *
 * @example
 * const perMinute: Limit = tokenBucket({ name: 'per-minute', rate: 100, period: '1m' });
 * const perOrg: Limit<string, 'org'> = tokenBucket({ name: 'per-org', by: 'org', rate: 1_000, period: '1m' });
 */
export abstract class Limit<
  Name extends string = string,
  By extends string = never,
  Unit extends string = never,
> {
  abstract readonly algorithm: AlgorithmName | 'block' | 'ban' | 'provider_quota';
  /** In decisions, headers, metrics and keys. `'default'` if the limit was given none. */
  readonly name: Name;
  /** The parts of the identity that it counts by, sorted; undefined if it counts by whole identities. */
  readonly by: readonly By[] | undefined;
  /** Whether it only counts and reports. */
  readonly shadow: boolean;
  /** Units that may be owed. */
  readonly maxDebt: number;
  /** What it counts; undefined if the limit was given no unit. */
  readonly unit: Unit | undefined;
  /** @internal When it blocks identities that it keeps refusing; undefined if never. */
  readonly ban: BanNumbers | undefined;
  /** Most units that can pass at once: a call of a greater cost can never pass. */
  abstract readonly capacity: number;
  /**
   * The time that `capacity` refers to, in milliseconds: a window's length, or how long an empty bucket takes to fill.
   * Undefined if units do not recover with time (concurrency), or if windows differ in length (a calendar's months and
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
    this.name = (given?.optional('name', readName, undefined) ?? DEFAULT_LIMIT_NAME) as Name;
    this.by = given?.optional('by', readBy, undefined) as readonly By[] | undefined;
    this.shadow = given?.optional('shadow', readBoolean, undefined) ?? false;
    this.maxDebt = given?.optional('maxDebt', readDebt, undefined) ?? 0;
    this.unit = given?.optional('unit', readUnit, undefined) as Unit | undefined;
    this.ban = given?.optional('ban', readBan, undefined);
  }

  /** @internal Two limits of one spelling decide alike. */
  get spelling(): string {
    this.#spelling ??= `${this.algorithm} ${JSON.stringify(this.#given)}`;
    return this.#spelling;
  }

  /** @internal For a token bucket passed with a call: the numbers of the limiter's own limit, null for none. */
  get beside(): unknown {
    return undefined;
  }

  /** @internal As a reservation's record says it to processes that have other limits; `unit` if it was given none. */
  told(unit: string | undefined): string {
    const given = unit === undefined ? this.#given : { ...this.#given, unit };
    return JSON.stringify(
      this.beside === undefined ? [this.algorithm, given] : [this.algorithm, given, this.beside],
    );
  }

  /** @internal */
  abstract plan(cost: number, nowMs: number): Plan;

  /** @internal This limit as a plan that is passed with a call, in place of the limiter's own limit of its name. */
  insteadOf(_own: Limit | undefined): Limit {
    return this as AnyLimit as Limit;
  }
}

/** A limit of whatever parts and units. */
export type AnyLimit = Limit<string, string, string>;

/** Marks the limits of every copy of the package. */
export const LIMIT_BRAND: unique symbol = Symbol.for('distributed-rate-limiter.Limit');
mark(Limit.prototype, LIMIT_BRAND);

function readDebt(option: string, value: unknown): number {
  return readInteger(option, value, 0, MAX_UNITS);
}

/** Each part is digested for each call. */
const MAX_PARTS = 8;

/** Reads a set of names of parts, which come back sorted. */
export function readBy(option: string, value: unknown): readonly string[] {
  const names: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (names.length > MAX_PARTS || !names.every(isName)) {
    throw invalidOption(
      option,
      `the name of a part, or an array of at most ${MAX_PARTS}, each of 1 to 64 of A-Z a-z 0-9 . _ -`,
      value,
      "Name the parts of the identity to count by: 'org', or ['org', 'user'].",
    );
  }
  return Object.freeze([...new Set(names)].sort());
}

/** 0 is the limit under which nothing passes. */
export function readRate(option: string, value: unknown, most: number = MAX_UNITS): number {
  return readInteger(option, value, 0, most) + 0; // -0 is 0
}

export function readUnits(option: string, value: unknown): number {
  return readInteger(option, value, 1, MAX_UNITS);
}

/** Reads the option `period`, in milliseconds. */
export function readPeriod(option: string, value: unknown): number {
  return readDuration(option, value, 1, YEAR_MS);
}
