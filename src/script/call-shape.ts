import type { Clock } from '../base/clock.ts';
import type { LimitCounts } from '../observe/limit-counts.ts';
import type { Limit, Plan } from '../algorithms/limit.ts';
import type { Cost } from '../base/decision.ts';

/**
 * `allow` charges a call that passes. `peek` charges nothing. `up_to` charges as many units as pass. `penalize` charges
 * even if the cost does not fit. `credit` gives units to an identity, and `refund` gives back those of a call. `acquire` is `allow` for a lease, which `renew` extends and
 * `release` ends. `reserve` charges an estimate and keeps a record of it; `add` charges more to it; `recall` reads it;
 * `settle` turns it into the actual cost, once. `reset` forgets all charges. `grant` is `allow`, and gives the process a
 * slice if it can.
 */
export type Verb =
  | 'allow'
  | 'peek'
  | 'up_to'
  | 'penalize'
  | 'credit'
  | 'refund'
  | 'reset'
  | 'acquire'
  | 'renew'
  | 'release'
  | 'reserve'
  | 'add'
  | 'recall'
  | 'settle'
  | 'grant';

/**
 * The most work that an entry of a shape makes for the server, in plain decisions under one limit: about 2 µs each.
 * `bench/bounds.mjs` measures the dearest mixes.
 */
interface Work {
  readonly first: number;
  /** Of an entry that repeats the shape and the key of the entry before it. */
  readonly again: number;
}

/** One limit's part in a shape. */
export interface Rule {
  readonly limit: Limit;
  /** At the call's cost if the verb decides about one; at a cost of 1 for verbs whose units are in the shape. */
  readonly plan: Plan;
  /**
   * The key of this limit's state: what follows the identity's key. Empty if the state is part of the value under the
   * identity's key itself, which is the home of all states that are strings.
   */
  readonly suffix: string;
  /** What names the state within that value: the limit's name and its algorithm's letter; '-' elsewhere. */
  readonly id: string;
  /** The index in the shape of the provider's quota beside this limit; undefined for limits without. */
  readonly quotaAt?: number;
  /** Which of the entry's homes it is, from 0, if limits count by different parts of an identity. */
  readonly home?: number;
  /**
   * Units that the call asks for under this limit, where those of a shape's limits differ; null if the call does not ask
   * this limit.
   */
  readonly units?: number | null | undefined;
  /** What the limit counts; undefined where no limit has a unit. */
  readonly unit?: string | undefined;
  /** The limiter's counters of this limit; an algorithm neither reads nor writes them. */
  readonly counts?: LimitCounts;
}

/**
 * Everything that calls have in common except the identity. Made once, so that a batch of calls of one shape is sent as
 * keys alone.
 */
export interface Shape {
  readonly verb: Verb;
  /** Units that the call asks for under each limit for which `asks` says nothing else. */
  readonly units: number;
  readonly rules: readonly Rule[];
  /** The cost that decisions on these calls report. */
  readonly cost: Cost;
  /** Units by rule; null for a limit that the call does not ask. */
  readonly asks: readonly (number | null)[];
  /** The rules that the call asks: those that its decision speaks of. */
  readonly asked: readonly Rule[];
  /** Each key of an entry, without the reservation record's. */
  readonly keys: readonly ShapeKey[];
  /** Whether the only key is that of the entry's first home. */
  readonly isAtHome: boolean;
  /** The index in `keys` of each rule's key. */
  readonly keyAt: readonly number[];
  /** By key: the ids of the rules whose states are in it, in order, if it is a home. */
  readonly ids: readonly (readonly string[])[];
  /** For `reserve` and `settle`: what the record then says of the limits. */
  readonly told: string;
  /** Arguments that call-shape.lua reads. */
  readonly args: readonly string[];
  /** The argument that lone-path.lua reads; undefined if the shape is not of a lone token bucket. */
  readonly lonePath: string | undefined;
  /** Whether home-path.lua decides it: an `allow` under limits whose states are all in homes. */
  readonly homePath: boolean;
  /**
   * Number of integers in an answer before those of the limits: the units that `up_to` granted; whether the lease of
   * `renew` or `release`, or the reservation of `add`, was held; whether `recall` found a record; the units that `settle`
   * charged, and those it did not, once or per limit; the units of the slice of `grant`, or how many such calls it is
   * where limits are asked for different units, when it ends after now, and per limit where it begins.
   */
  readonly head: number;
  /** Number of integers in an answer. */
  readonly width: number;
  readonly work: Work;
  /** The time in which all of its plans hold, in Unix ms: from the latest `from` to the earliest `until`. */
  readonly from: number;
  readonly until: number;
}

/** A key of an entry: one of its homes, and what follows the home's key. */
export interface ShapeKey {
  readonly home: number;
  readonly suffix: string;
}

/** Names the state that is a home's whole value while it is the only one. */
export const UNNAMED_BUCKET = '=t';

/** In the year 2254: doubles do not hold later microseconds exactly. */
const LAST_PLANNED_MS = 8_970_000_000_000;

const HEADS: Readonly<Partial<Record<Verb, number>>> = {
  up_to: 1,
  renew: 1,
  release: 1,
  add: 1,
  recall: 1,
  settle: 2,
};
/** Number of integers that each limit answers to a verb, if not its algorithm's usual width. */
const WIDTHS: Readonly<Partial<Record<Verb, number>>> = {
  reset: 1,
  renew: 0,
  release: 0,
  settle: 0,
};
/** Number of details of an entry. */
const DETAILS: Readonly<Partial<Record<Verb, number>>> = {
  acquire: 1,
  renew: 1,
  release: 1,
  reserve: 1,
  add: 1,
  settle: 3,
  grant: 4,
};

/** `cost`: what decisions report as the cost, if it is not `units`. */
export function makeShape(
  verb: Verb,
  units: number,
  rules: readonly Rule[],
  cost: Cost = units,
  told = '',
): Shape {
  const asks = rules.map((rule) => (rule.units === undefined ? units : rule.units));
  const differ = rules.some((rule) => rule.units !== undefined);
  const charges = rules.every(({ limit }, i) => asks[i]! > 0 || limit.algorithm === 'block');
  const head =
    verb === 'grant'
      ? 2 + 2 * rules.length
      : (HEADS[verb] ?? 0) * (verb === 'settle' && differ ? rules.length : 1);
  const keys: ShapeKey[] = [];
  const keyAt = rules.map(({ home = 0, suffix }) => {
    const at = keys.findIndex((key) => key.home === home && key.suffix === suffix);
    return at === -1 ? keys.push({ home, suffix }) - 1 : at;
  });
  const widths = rules.map(({ plan }) => WIDTHS[verb] ?? plan.width);
  return {
    verb,
    units,
    rules,
    told,
    keys,
    isAtHome: keys.length === 1 && keys[0]!.home === 0 && keys[0]!.suffix === '',
    cost,
    asks,
    asked: differ ? rules.filter((rule) => rule.units !== null) : rules,
    keyAt,
    ids: keys.map(({ suffix }, k) =>
      suffix === '' ? rules.filter((_, i) => keyAt[i] === k).map(({ id }) => id) : [],
    ),
    args: [
      verb,
      differ ? asks.map((each) => each ?? '-').join(',') : String(units),
      String(verb === 'refund' ? rules.length : (DETAILS[verb] ?? 0)),
      String(keys.length),
      String(rules.length),
      ...(verb === 'reserve' || verb === 'settle' ? [told] : []),
      ...rules.flatMap(({ limit, plan, id }, i) => [
        limit.shadow ? '1' : '0',
        String(keyAt[i]! + 1),
        id,
        ...plan.args,
      ]),
    ],
    lonePath:
      verb === 'allow' && charges && rules.length === 1 && isLoneBucket(rules[0]!)
        ? rules[0]!.plan.args.slice(1).join(' ')
        : undefined,
    homePath:
      verb === 'allow' &&
      charges &&
      rules[0]?.suffix === '' &&
      rules.every(
        ({ limit, suffix, plan }) =>
          limit.algorithm === 'block' ||
          (limit.algorithm !== 'ban' &&
            limit.algorithm !== 'provider_quota' &&
            suffix === '' &&
            !isBeside(plan)),
      ),
    head,
    width: widths.reduce((sum, width) => sum + width, head),
    work: workOf(verb, rules),
    from: rules.reduce((latest, { plan }) => Math.max(latest, plan.from ?? latest), -Infinity),
    until: rules.reduce(
      (earliest, { plan }) => Math.min(earliest, plan.until ?? earliest),
      Infinity,
    ),
  };
}

/** Verbs that judge several times, and price anew. */
const REPEATING: readonly Verb[] = ['up_to', 'penalize', 'credit', 'refund', 'settle', 'grant'];
/** Work of a repeating verb, of a step of a log's binary search, and of rewriting a log for a refund. */
const REPEATED = 6;
const WINDOW_WORK: Readonly<Partial<Record<string, number>>> = {
  sliding_window: 2,
  sliding_window_log: 2,
  fixed_window: 2,
  // It reads and writes up to 99 instants.
  ban: 16,
};
const SEARCH_STEP = 5;
/** Enough for a log of 100,000 entries. */
const MAX_STEPS = 17;
const REWRITING = 500;

function workOf(verb: Verb, rules: readonly Rule[]): Work {
  let [first, again] = [0, 0];
  for (const { limit } of rules) {
    const isLog = limit.algorithm === 'sliding_window_log';
    const plain = WINDOW_WORK[limit.algorithm] ?? 1;
    const search = isLog
      ? SEARCH_STEP * Math.min(MAX_STEPS, Math.ceil(Math.log2(limit.capacity + 2)))
      : 0;
    const rewriting = isLog && (verb === 'refund' || verb === 'settle') ? REWRITING : 0;
    const each = plain * (REPEATING.includes(verb) ? REPEATED : 1) + rewriting;
    first += each + search;
    // An equal call is refused for the same time as the one before, except where each changes what is counted.
    again += verb === 'penalize' || verb === 'credit' ? each + search : each;
  }
  return { first, again };
}

/** The shape itself if its windows hold at the clock's time; else the shape with the windows of that time. */
export function currentShape(shape: Shape, clock: Clock): Shape {
  if (shape.until === Infinity) {
    return shape;
  }
  const nowMs = planningTime(clock);
  if (shape.from <= nowMs && nowMs < shape.until) {
    return shape;
  }
  const rules = shape.rules.map((rule) =>
    rule.plan.until === undefined
      ? rule
      : { ...rule, plan: rule.limit.plan(rule.plan.cost, nowMs) },
  );
  return makeShape(shape.verb, shape.units, rules, shape.cost, shape.told);
}

/** The clock's time in whole Unix milliseconds, clamped to times for which windows can be planned. */
export function planningTime(clock: Clock): number {
  return Math.min(Math.max(Math.floor(clock.nowMicros() / 1_000), 0), LAST_PLANNED_MS);
}

/** Whether it is a token bucket's plan that was passed with a call. */
function isBeside(plan: Plan): boolean {
  return plan.args[1] === 'beside';
}

function isLoneBucket({ limit, id, plan }: Rule): boolean {
  return id === UNNAMED_BUCKET && !limit.shadow && !isBeside(plan);
}

/** The keys of one call: those of its shape, in order, then the record's. */
export function keysOf({ key, homes, shape, record }: Omit<Entry, 'details'>): readonly string[] {
  const keys = shape.keys.map(({ home, suffix }) => keyIn(homes?.[home] ?? key, suffix));
  return record === undefined ? keys : [...keys, keyIn(key, record)];
}

/** A key in the slot of a home, whose own key may have a hash tag. */
function keyIn(home: string, suffix: string): string {
  return suffix === '' ? home : home.startsWith('{') ? home + suffix : `{${home}}${suffix}`;
}

/** What the script decides at once: one identity, one shape. */
export interface Entry {
  /** The identity's key: its home; the first of them if it has several. */
  readonly key: string;
  /** The keys of all of its homes, if its limits count by different parts of the identity. */
  readonly homes?: readonly string[] | undefined;
  readonly shape: Shape;
  /**
   * What follows the first home's key in the key of the reservation record of `reserve`, `add`, `recall` and `settle`, or
   * of the list of processes of `grant`.
   */
  readonly record?: string | undefined;
  /**
   * What the verb needs for this entry alone. For `refund` a mark per limit, '-' for no charge; for `acquire`, `renew`
   * and `release` the lease; for `reserve` and `settle` see `reserveDetails` and `settleDetails`; for `add`
   * its number among those of its handle, from 1, behind the handle and a colon if that was resumed.
   */
  readonly details?: readonly string[] | undefined;
  /**
   * Behind a proxy that shards: what the calls of one script call must share, so that all of its keys are on one
   * server. Undefined elsewhere.
   */
  readonly shard?: string | undefined;
}

/** The details of `reserve`: the reservation's lifetime, in milliseconds. */
export function reserveDetails(ttlMs: number): readonly string[] {
  return [String(ttlMs)];
}

/** What follows an identity's key in the key of the list of processes that hold slices of it. */
export const SLICES = '#s';

/**
 * The details of `grant`: the process; the units that it expects to spend, or how many such calls it expects where limits
 * are asked for different units; times in microseconds as in slicing.ts.
 */
export function grantDetails(
  process: string,
  want: number,
  holdUs: number,
  aheadUs: number,
): readonly string[] {
  return [process, String(want), String(holdUs), String(aheadUs)];
}

/**
 * The details of `settle`: the actual units, one number or one per limit, null for what it was reserved; and the milliseconds for which the result is kept, if the reservation ends sooner. `unreserved` charges all
 * units if there is no record; else a missing record means that the reservation has expired.
 */
export function settleDetails(
  actual: number | readonly (number | null)[],
  keepMs: number,
  unreserved: boolean,
): readonly string[] {
  const units =
    typeof actual === 'number' ? String(actual) : actual.map((each) => each ?? '-').join(',');
  return [units, String(keepMs), unreserved ? '1' : '0'];
}
