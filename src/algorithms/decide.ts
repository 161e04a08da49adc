import type { Algorithm, Limit, Plan, Saved, State, Verdict } from './limit.ts';

/**
 * `allow` charges what passes. `peek` only looks. `up_to` charges as many units as pass. `penalize` charges
 * whatever is left. `refund` gives back. `reset` forgets. `acquire` is `allow` for a lease, which `renew` extends
 * and `release` ends.
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
  | 'release';

/** One limit's part in a shape. */
export interface Rule {
  readonly limit: Limit;
  /** At the call's cost for `allow`, `acquire` and `peek`; at a cost of 1 for the others, which say their units apart. */
  readonly plan: Plan;
  /** What follows the identity's key in this limit's key; empty for the unnamed limit. */
  readonly suffix: string;
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
   * How many integers an answer to this shape has before those of its limits: the units that `up_to` granted,
   * whether a lease that `renew` or `release` was about was held.
   */
  readonly head: number;
  /** How many it has in all. */
  readonly width: number;
}

const HEADS: Readonly<Partial<Record<Verb, number>>> = { up_to: 1, renew: 1, release: 1 };
/** What each limit answers to a verb, where that is not its algorithm's width. */
const WIDTHS: Readonly<Partial<Record<Verb, number>>> = { reset: 1, renew: 0, release: 0 };
/** How many details an entry brings. */
const DETAILS: Readonly<Partial<Record<Verb, number>>> = { acquire: 1, renew: 1, release: 1 };

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

/** The keys of one call, in the order of its shape's rules. `key` is the key of the identity's unnamed limit. */
export function keysOf(key: string, shape: Shape): readonly string[] {
  return shape.rules.map(({ suffix }) => (suffix === '' ? key : `{${key}}${suffix}`));
}

export interface Entry {
  readonly key: string;
  readonly shape: Shape;
  /**
   * What the shape's verb needs to know of this entry alone: for `refund` per limit which charge, '-' for none; for
   * `acquire`, `renew` and `release` the lease.
   */
  readonly details?: readonly string[] | undefined;
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
  const states = new Map<string, { state: State | undefined; twin: Algorithm }>();
  const changed = new Set<string>();
  const erased = new Set<string>();

  const stateOf = (key: string, { limit: { twin } }: Rule): State | undefined => {
    let known = states.get(key);
    if (known === undefined) {
      known = { state: twin.load(erased.has(key) ? undefined : table.read(key), now), twin };
      states.set(key, known);
    }
    return known.state;
  };

  for (const entry of entries) {
    const { shape } = entry;
    const keys = keysOf(entry.key, shape);
    if (shape.verb === 'reset') {
      for (const key of keys) {
        states.delete(key);
        erased.add(key);
        changed.add(key);
        out.push(1);
      }
      continue;
    }
    const mine = shape.rules.map((rule, i) => stateOf(keys[i]!, rule));
    const failure = shape.rules
      .map(({ limit, plan }, i) =>
        mine[i] === undefined ? UNREADABLE : limit.twin.failure?.(plan, now),
      )
      .find((message) => message !== undefined);
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
    out.push(...VERBS[shape.verb](held, shape.units, now, entry.details ?? []));
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
};

/** The units that an answer to `up_to` granted; `at` is the answer's first place in the reply. */
export function readGranted(reply: readonly number[], at: number): number {
  return reply[at]!;
}

/** Whether the lease that `renew` or `release` was about was held; `at` as above. */
export function readHeld(reply: readonly number[], at: number): boolean {
  return reply[at] === 1;
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
