import type { LimitCounts } from '../counts.ts';
import type { Limit, Plan, Saved, State, Verdict } from './limit.ts';
import { recordTwin } from './record.ts';
import type { RecordState } from './record.ts';

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
  /** As decide.lua reads a shape. */
  readonly args: readonly string[];
  /** As lone.lua reads it; undefined where it is not of that kind. */
  readonly lone: string | undefined;
  /**
   * How many integers an answer to this shape has before those of its limits: the units that `up_to` granted, whether
   * a lease that `renew` or `release` was about was held, the units that `settle` charged and those it did not.
   */
  readonly head: number;
  /** How many it has in all. */
  readonly width: number;
}

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

export function shapeOf(verb: Verb, units: number, rules: readonly Rule[]): Shape {
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
    lone:
      verb === 'allow' && rules.length === 1 && isLone(rules[0]!)
        ? rules[0]!.plan.args.slice(1).join(' ')
        : undefined,
    head,
    width: widths.reduce((sum, width) => sum + width, head),
  };
}

function isLone({ limit }: Rule): boolean {
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

/** Where the driver reads and writes states. */
export interface Table {
  /** The stored value; undefined for none. */
  read(key: string): unknown;
  /** Keeps the value, or deletes the key for undefined. */
  write(key: string, saved: Saved | undefined): void;
}

export const UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes';

/**
 * The driver: several entries in order, each governed by one or several limits, all or nothing. Reads the
 * state of every key, decides, then writes each changed state once. Twin of decide.lua, and answers as it
 * does: `now`, then the integers of every entry, or a message in each of its places where the entry failed.
 */
export function decide(entries: readonly Entry[], now: number, table: Table): (number | string)[] {
  const out: (number | string)[] = [now];
  const states = new Map<string, { state: State | undefined; twin: Keeper }>();
  const changed = new Set<string>();
  const erased = new Set<string>();

  const stateOf = (key: string, twin: Keeper): State | undefined => {
    let known = states.get(key);
    if (known === undefined) {
      known = { state: twin.load(erased.has(key) ? undefined : table.read(key), now), twin };
      states.set(key, known);
    }
    return known.state;
  };

  for (const entry of entries) {
    const { shape } = entry;
    const keys = keysOf(entry);
    if (shape.verb === 'reset') {
      for (const key of keys) {
        states.delete(key);
        erased.add(key);
        changed.add(key);
        out.push(1);
      }
      continue;
    }
    const mine = shape.rules.map(({ limit }, i) => stateOf(keys[i]!, limit.twin));
    let failure = shape.rules
      .map(({ limit, plan }, i) =>
        mine[i] === undefined ? UNREADABLE : limit.twin.failure?.(plan, now),
      )
      .find((message) => message !== undefined);
    let record: RecordState | undefined;
    if (failure === undefined && entry.record !== undefined) {
      record = stateOf(keys.at(-1)!, recordTwin) as RecordState | undefined;
      failure = record === undefined || !isReadable(record, shape, now) ? UNREADABLE : undefined;
    }
    if (failure !== undefined) {
      out.push(...Array<string>(shape.width).fill(failure));
      continue;
    }
    const held = shape.rules.map(({ limit, plan }, i) => ({
      limit,
      plan,
      state: mine[i]!,
      passes: false,
    }));
    out.push(...VERBS[shape.verb](held, shape.units, now, entry.details ?? [], record!));
    if (record?.changed === true) {
      changed.add(keys.at(-1)!);
    }
    held.forEach(({ limit, plan, state, passes }, i) => {
      if (state.changed) {
        changed.add(keys[i]!);
      }
      if (shape.width > shape.head) {
        out.push(...limit.twin.answer(state, plan, passes, now));
      }
    });
  }

  for (const key of changed) {
    const known = states.get(key);
    table.write(
      key,
      known?.state?.changed === true ? known.twin.save(known.state, now) : undefined,
    );
  }
  return out;
}

/** What can load and save a state. */
interface Keeper {
  load(value: unknown, now: number): State | undefined;
  save(state: State, now: number): Saved | undefined;
}

/** Whether what is needed of the record can be read: for `settle` what it says was charged under each limit. */
function isReadable(record: RecordState, { verb, rules }: Shape, now: number): boolean {
  if (verb === 'settle' && record.ends > now && !record.settled) {
    record.parsed = rules.map(({ limit }, i) => {
      const receipt = record.receipts[i] ?? '';
      return receipt === '-' ? null : limit.twin.parse(receipt);
    });
    return !record.parsed.includes(undefined);
  }
  return true;
}

/** One limit during one entry. */
interface HeldRule {
  readonly limit: Limit;
  plan: Plan;
  readonly state: State;
  passes: boolean;
}

function price(held: readonly HeldRule[], units: number): void {
  for (const rule of held) {
    rule.plan = rule.limit.twin.price(rule.plan, units);
  }
}

/** Whether every limit that is enforced lets the entry pass; notes each one's verdict. */
function judge(held: readonly HeldRule[], now: number): boolean {
  let passes = true;
  for (const rule of held) {
    rule.passes = rule.limit.twin.judge(rule.state, rule.plan, now);
    passes &&= rule.passes || rule.limit.shadow;
  }
  return passes;
}

function charge(held: readonly HeldRule[], now: number): void {
  for (const { limit, plan, state, passes } of held) {
    if (passes) {
      limit.twin.charge(state, plan, now);
    }
  }
}

function nameLease(held: readonly HeldRule[], lease: string): void {
  for (const rule of held) {
    rule.plan = rule.limit.twin.lending?.named(rule.plan, lease) ?? rule.plan;
  }
}

/** Under how many limits the lease is held; undefined where one that is enforced lends it no place. */
function holds(held: readonly HeldRule[], now: number): number | undefined {
  let count = 0;
  for (const { limit, plan, state } of held) {
    if (limit.twin.lending?.holds(state, plan, now) === true) {
      count += 1;
    } else if (limit.twin.lending !== undefined && !limit.shadow) {
      return undefined;
    }
  }
  return count;
}

function extend(held: readonly HeldRule[], now: number): void {
  for (const { limit, plan, state } of held) {
    if (limit.twin.lending?.holds(state, plan, now) === true) {
      limit.twin.charge(state, plan, now);
    }
  }
}

/** What each verb does to the limits of one entry, and what it answers before they do. */
const VERBS: Readonly<
  Record<
    Exclude<Verb, 'reset'>,
    (
      held: readonly HeldRule[],
      units: number,
      now: number,
      details: readonly string[],
      record: RecordState,
    ) => readonly number[]
  >
> = {
  allow(held, _units, now) {
    if (judge(held, now)) {
      charge(held, now);
    }
    return [];
  },

  peek(held, _units, now) {
    judge(held, now);
    return [];
  },

  up_to(held, units, now) {
    price(held, 1);
    judge(held, now);
    const granted = held
      .filter(({ limit }) => !limit.shadow)
      .reduce(
        (least, { limit, plan, state }) => Math.min(least, limit.twin.fits(state, plan, now)),
        units,
      );
    if (granted > 0) {
      price(held, granted);
      judge(held, now);
      charge(held, now);
    }
    return [granted];
  },

  penalize(held, units, now) {
    price(held, units);
    judge(held, now);
    for (const { limit, plan, state } of held) {
      limit.twin.penalize(state, plan, now);
    }
    price(held, 1);
    judge(held, now);
    return [];
  },

  refund(held, units, now, details) {
    price(held, units);
    judge(held, now);
    held.forEach(({ limit, plan, state }, i) => {
      const mark = details[i]!;
      if (mark !== '-') {
        limit.twin.refund(state, plan, Number(mark), now);
      }
    });
    price(held, 1);
    judge(held, now);
    return [];
  },

  acquire(held, _units, now, [lease]) {
    nameLease(held, lease!);
    const again = (holds(held, now) ?? 0) > 0;
    const passes = judge(held, now);
    if (again) {
      // The same call, whose first answer was lost: it has its place, and what it costs was charged then.
      for (const rule of held) {
        rule.passes ||= !rule.limit.shadow;
      }
      extend(held, now);
    } else if (passes) {
      charge(held, now);
    }
    return [];
  },

  reserve(held, units, now, [ttlMs], record) {
    const passes = judge(held, now);
    if (record.ends > now) {
      // It came before: the client sent it again. Or it comes after its own settlement.
      for (const rule of held) {
        rule.passes = true;
      }
    } else if (passes) {
      charge(held, now);
      record.receipts = held.map(({ limit, plan, state, passes: charged }) =>
        charged ? limit.twin.receipt(state, plan) : '-',
      );
      record.ends = now + Number(ttlMs) * 1_000;
      record.settled = false;
      record.cost = units;
      record.changed = true;
    }
    return [];
  },

  renew(held, _units, now, [lease]) {
    nameLease(held, lease!);
    if (holds(held, now) === undefined) {
      return [0];
    }
    extend(held, now);
    return [1];
  },

  release(held, _units, now, [lease]) {
    nameLease(held, lease!);
    const isHeld = holds(held, now) !== undefined;
    for (const { limit, plan, state } of held) {
      limit.twin.lending?.release(state, plan, now);
    }
    return [isHeld ? 1 : 0];
  },

  settle(held, _units, now, [actualUnits, keepMs, unreserved], record) {
    const actual = Number(actualUnits);
    const isHeld = record.ends > now;
    if (isHeld && record.settled) {
      return [record.charged, record.uncharged];
    }
    if (!isHeld && unreserved !== '1') {
      return [-1, 0];
    }
    price(held, 1);
    judge(held, now);
    const estimate = isHeld ? record.cost : 0;
    let uncharged = 0;
    held.forEach((rule, i) => {
      const receipt = isHeld ? record.parsed[i] : undefined;
      const { limit, plan, state } = rule;
      // A limit that was not charged is not concerned.
      if (receipt !== null && actual > estimate) {
        const missing = takeOn(rule, actual - estimate, now);
        uncharged = limit.shadow ? uncharged : Math.max(uncharged, missing);
      } else if (receipt !== null && actual < estimate) {
        limit.twin.restore(state, plan, receipt, estimate - actual, now);
      }
    });
    record.ends = now + Number(keepMs) * 1_000;
    record.settled = true;
    record.charged = actual - uncharged;
    record.uncharged = uncharged;
    record.changed = true;
    return [record.charged, uncharged];
  },
};

/** Takes what fits of `units`, debt included, and returns how many did not. */
function takeOn(rule: HeldRule, units: number, now: number): number {
  const { limit, state } = rule;
  const taken = Math.min(units, limit.twin.room(state, rule.plan, now));
  if (taken > 0) {
    rule.plan = limit.twin.price(rule.plan, taken);
    limit.twin.judge(state, rule.plan, now);
    limit.twin.charge(state, rule.plan, now);
  }
  return units - taken;
}

/** The units that an answer to `up_to` granted; `at` is the answer's first place in the reply. */
export function readGranted(reply: readonly number[], at: number): number {
  return reply[at]!;
}

/** Whether the lease that `renew` or `release` was about was held; `at` as above. */
export function readHeld(reply: readonly number[], at: number): boolean {
  return reply[at] === 1;
}

/**
 * What an answer to `settle` says: the units that are charged in the end, and those that did not fit; undefined where
 * the record was gone. `at` is the answer's first place in the reply.
 */
export function readSettled(
  reply: readonly number[],
  at: number,
): { readonly charged: number; readonly uncharged: number } | undefined {
  const charged = reply[at]!;
  return charged < 0 ? undefined : { charged, uncharged: reply[at + 1]! };
}

/** What an answer says of each limit of its shape; `at` is the answer's first place in the reply. */
export function readVerdicts(
  shape: Shape,
  reply: readonly number[],
  at: number,
): readonly Verdict[] {
  const { verb, rules, head } = shape;
  if (verb === 'reset') {
    return [];
  }
  let place = at + head;
  return rules.map(({ limit, plan }) => {
    const judged = verb === 'up_to' && reply[at]! > 1 ? limit.twin.price(plan, reply[at]!) : plan;
    const verdict = limit.twin.read(judged, reply, place);
    place += plan.width;
    return verdict;
  });
}

/** The details of the refund of an entry that passed: which charge each limit made, '-' where it made none. */
export function readMarks(shape: Shape, reply: readonly number[], at: number): readonly string[] {
  const now = reply[0]!;
  let place = at + shape.head;
  return shape.rules.map(({ limit, plan }) => {
    const { refused } = limit.twin.read(plan, reply, place);
    const mark = refused ? '-' : String(limit.twin.mark(plan, reply, place, now));
    place += plan.width;
    return mark;
  });
}
