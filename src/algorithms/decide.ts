import type { Limit, Plan, Saved, State, Verdict } from './limit.ts';

/**
 * What is asked of one limit. A shadow limit never makes a call fail; it is charged for what passes it and all
 * that are enforced.
 */
export type Ask = 'charge' | 'peek' | 'shadow' | 'shadow_peek' | 'reset';

/** One limit's part in a shape. */
export interface Rule {
  readonly limit: Limit;
  readonly plan: Plan;
  readonly ask: Ask;
  /** What follows the identity's key in this limit's key; empty for the unnamed limit. */
  readonly suffix: string;
}

/**
 * What many calls have in common: everything but the identity. Made once, so that a batch of calls of one
 * shape is sent as keys alone.
 */
export interface Shape {
  readonly rules: readonly Rule[];
  /** Whether it forgets instead of deciding. */
  readonly resets: boolean;
  /** Number of limits, then what is asked of each, its algorithm and arguments: as decide.lua reads a shape. */
  readonly args: readonly string[];
  /** How many integers an answer to this shape has. */
  readonly width: number;
}

export function shapeOf(rules: readonly Rule[]): Shape {
  const resets = rules.every(({ ask }) => ask === 'reset');
  return {
    rules,
    resets,
    args: [
      String(rules.length),
      ...rules.flatMap(({ ask, plan }) => (resets ? [ask] : [ask, ...plan.args])),
    ],
    width: resets ? rules.length : rules.reduce((sum, rule) => sum + rule.plan.width, 0),
  };
}

/** The keys of one call, in the order of its shape's rules. `key` is the key of the identity's unnamed limit. */
export function keysOf(key: string, shape: Shape): readonly string[] {
  return shape.rules.map(({ suffix }) => (suffix === '' ? key : `{${key}}${suffix}`));
}

export interface Entry {
  readonly key: string;
  readonly shape: Shape;
}

/** Where the driver reads and writes states. */
export interface Table {
  /** The stored value; undefined for none. */
  read(key: string): string | undefined;
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
  const states = new Map<string, State | undefined>();
  const rulesOf = new Map<string, Rule>();
  const changed = new Set<string>();
  const erased = new Set<string>();

  const stateOf = (key: string, rule: Rule): State | undefined => {
    if (!states.has(key)) {
      states.set(key, rule.limit.twin.load(erased.has(key) ? undefined : table.read(key)));
      rulesOf.set(key, rule);
    }
    return states.get(key);
  };

  for (const { key, shape } of entries) {
    const keys = keysOf(key, shape);
    if (shape.resets) {
      for (const each of keys) {
        states.delete(each);
        erased.add(each);
        changed.add(each);
        out.push(1);
      }
      continue;
    }
    const mine = shape.rules.map((rule, i) => stateOf(keys[i]!, rule));
    const failure = shape.rules
      .map(({ limit, plan }, i) => (mine[i] === undefined ? UNREADABLE : limit.twin.failure?.(plan, now)))
      .find((message) => message !== undefined);
    if (failure !== undefined) {
      out.push(...Array<string>(shape.width).fill(failure));
      continue;
    }
    const verdicts = shape.rules.map(({ limit, plan }, i) => limit.twin.judge(mine[i]!, plan, now));
    const passes = shape.rules.every(({ ask }, i) => verdicts[i]! || ask.startsWith('shadow'));
    shape.rules.forEach(({ limit, plan, ask }, i) => {
      const state = mine[i]!;
      if (passes && verdicts[i]! && (ask === 'charge' || ask === 'shadow')) {
        limit.twin.charge(state, plan, now);
      }
      if (state.changed) {
        changed.add(keys[i]!);
      }
      out.push(...limit.twin.answer(state, plan, verdicts[i]!, now));
    });
  }

  for (const key of changed) {
    const state = states.get(key);
    table.write(
      key,
      state?.changed === true ? rulesOf.get(key)!.limit.twin.save(state, now) : undefined,
    );
  }
  return out;
}

/** What an answer says of each limit of its shape; `at` is the answer's first place in the reply. */
export function readVerdicts(
  shape: Shape,
  reply: readonly number[],
  at: number,
): readonly Verdict[] {
  if (shape.resets) {
    return [];
  }
  let place = at;
  return shape.rules.map(({ limit, plan }) => {
    const verdict = limit.twin.read(plan, reply, place);
    place += plan.width;
    return verdict;
  });
}
