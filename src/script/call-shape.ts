import type { Clock } from '../base/clock.ts';
import type { LimitCounts } from '../observe/limit-counts.ts';
import type { Limit, Plan } from '../algorithms/limit.ts';

/**
 * `allow` charges what passes. `peek` only looks. `up_to` charges as many units as pass. `penalize` charges
 * whatever is left. `refund` gives back. `acquire` is `allow` for a lease, which `renew` extends and `release` ends.
 * `reserve` charges an estimate and keeps a record of it, from which `settle` makes the actual cost of it, once.
 * `reset` forgets.
 */
export type Verb =
  | 'allow'
  | 'peek'
  | 'up_to'
  | 'penalize'
  | 'refund'
  | 'reset'
  | 'acquire'
  | 'renew'
  | 'release'
  | 'reserve'
  | 'settle';

/** One limit's part in a shape. */
export interface Rule {
  readonly limit: Limit;
  /** At the call's cost where the verb decides about one; at a cost of 1 for the others, which say their units apart. */
  readonly plan: Plan;
  /** What follows the identity's key in this limit's key; empty for the unnamed limit. */
  readonly suffix: string;
  /** Where its limiter counts what this limit says; an algorithm neither reads nor writes it. */
  readonly counts?: LimitCounts;
}

/**
 * What many calls have in common: everything but the identity. Made once, so that a batch of calls of one
 * shape is sent as keys alone.
 */
export interface Shape {
  readonly verb: Verb;
  readonly units: number;
  readonly rules: readonly Rule[];
  /** As call-shape.lua reads it. */
  readonly args: readonly string[];
  /** As fast-path.lua does; undefined where it is not of that kind. */
  readonly fastPath: string | undefined;
  /**
   * How many integers an answer to this shape has before those of its limits: the units that `up_to` granted, whether
   * a lease that `renew` or `release` was about was held, the units that `settle` charged and those it did not.
   */
  readonly head: number;
  /** How many it has in all. */
  readonly width: number;
  /** As those of its plans: from the latest to the earliest. */
  readonly from: number;
  readonly until: number;
}

/** In the year 2254: later microseconds are no whole numbers any more. */
const LAST_PLANNED_MS = 8_970_000_000_000;

const HEADS: Readonly<Partial<Record<Verb, number>>> = {
  up_to: 1,
  renew: 1,
  release: 1,
  settle: 2,
};
/** What each limit answers to a verb, where that is not its algorithm's width. */
const WIDTHS: Readonly<Partial<Record<Verb, number>>> = {
  reset: 1,
  renew: 0,
  release: 0,
  settle: 0,
};
/** How many details an entry brings. */
const DETAILS: Readonly<Partial<Record<Verb, number>>> = {
  acquire: 1,
  renew: 1,
  release: 1,
  reserve: 1,
  settle: 3,
};

export function makeShape(verb: Verb, units: number, rules: readonly Rule[]): Shape {
  const head = HEADS[verb] ?? 0;
  const widths = rules.map(({ plan }) => WIDTHS[verb] ?? plan.width);
  return {
    verb,
    units,
    rules,
    args: [
      verb,
      String(units),
      String(verb === 'refund' ? rules.length : (DETAILS[verb] ?? 0)),
      String(rules.length),
      ...rules.flatMap(({ limit, plan }) => [limit.shadow ? '1' : '0', ...plan.args]),
    ],
    fastPath:
      verb === 'allow' && rules.length === 1 && hasFastPath(rules[0]!)
        ? rules[0]!.plan.args.slice(1).join(' ')
        : undefined,
    head,
    width: widths.reduce((sum, width) => sum + width, head),
    from: rules.reduce((latest, { plan }) => Math.max(latest, plan.from ?? latest), -Infinity),
    until: rules.reduce(
      (earliest, { plan }) => Math.min(earliest, plan.until ?? earliest),
      Infinity,
    ),
  };
}

/** The shape itself where its windows are those of the clock's time; else the same with the windows of that time. */
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
  return makeShape(shape.verb, shape.units, rules);
}

/** The clock's time in whole Unix milliseconds; of a clock that is far off an instant for which windows can be planned. */
export function planningTime(clock: Clock): number {
  return Math.min(Math.max(Math.floor(clock.nowMicros() / 1_000), 0), LAST_PLANNED_MS);
}

function hasFastPath({ limit }: Rule): boolean {
  return limit.algorithm === 'token_bucket' && !limit.shadow;
}

/** The keys of one call: those of its shape's rules, in their order, and that of its record. */
export function keysOf({ key, shape, record }: Omit<Entry, 'details'>): readonly string[] {
  const keys = shape.rules.map(({ suffix }) => (suffix === '' ? key : `{${key}}${suffix}`));
  return record === undefined ? keys : [...keys, `{${key}}${record}`];
}

export interface Entry {
  /** The key of the identity's unnamed limit. */
  readonly key: string;
  readonly shape: Shape;
  /** What follows the identity's key, in braces, in the key of this reservation's record: for `reserve` and `settle`. */
  readonly record?: string | undefined;
  /**
   * What the shape's verb needs to know of this entry alone: for `refund` per limit which charge, '-' for none; for
   * `acquire`, `renew` and `release` the lease; for `reserve` and `settle` what `reserveDetails` and `settleDetails` say.
   */
  readonly details?: readonly string[] | undefined;
  /**
   * Where several servers share the keys out: what the calls of one script call must have in common, so that all of
   * its keys are on one server. Undefined where that is no question.
   */
  readonly home?: string | undefined;
}

/** How long the reservation lasts, in milliseconds. */
export function reserveDetails(ttlMs: number): readonly string[] {
  return [String(ttlMs)];
}

/**
 * The actual units, and for how many milliseconds the result is kept. `unreserved` says that all of them are to be
 * charged where nothing was reserved; else that is an expired reservation.
 */
export function settleDetails(
  actual: number,
  keepMs: number,
  unreserved: boolean,
): readonly string[] {
  return [String(actual), String(keepMs), unreserved ? '1' : '0'];
}
