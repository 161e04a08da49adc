import type { Limit, Plan, State } from '../algorithms/limit.ts';
import type { RecordState } from './reservation-record.ts';
import type { Verb } from './call-shape.ts';

/** One limit while one entry is decided. */
interface RuleState {
  readonly limit: Limit;
  plan: Plan;
  readonly state: State;
  passes: boolean;
  /** Whether the entry was charged under this limit. */
  charged: boolean;
}

function price(held: readonly RuleState[], units: number): void {
  for (const rule of held) {
    rule.plan = rule.limit.twin.price(rule.plan, units);
  }
}

/** Whether every enforced limit lets the entry pass. Notes the verdict of each limit. */
function judge(held: readonly RuleState[], now: number): boolean {
  let passes = true;
  for (const rule of held) {
    rule.passes = rule.limit.twin.judge(rule.state, rule.plan, now);
    passes &&= rule.passes || rule.limit.shadow;
  }
  return passes;
}

/** Charges the limits that let the entry pass. A cost of 0 takes places, and no units. */
function charge(held: readonly RuleState[], units: number, now: number): void {
  for (const rule of held) {
    if (rule.passes && (units > 0 || rule.limit.twin.lending !== undefined)) {
      rule.limit.twin.charge(rule.state, rule.plan, now);
      rule.charged = true;
    }
  }
}

/** Tells each limit that refused the entry. */
function refuse(held: readonly RuleState[], now: number): void {
  for (const { limit, plan, state, passes } of held) {
    if (!passes) {
      limit.twin.refuse?.(state, plan, now);
    }
  }
}

function nameLease(held: readonly RuleState[], lease: string): void {
  for (const rule of held) {
    rule.plan = rule.limit.twin.lending?.named(rule.plan, lease) ?? rule.plan;
  }
}

/** The number of limits under which the lease is held; undefined if an enforced limit does not hold it. */
function holds(held: readonly RuleState[], now: number): number | undefined {
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

function extend(held: readonly RuleState[], now: number): void {
  for (const { limit, plan, state } of held) {
    if (limit.twin.lending?.holds(state, plan, now) === true) {
      limit.twin.charge(state, plan, now);
    }
  }
}

/** The receipt of a limit that let an estimate of 0 pass. */
const UNCHARGED = '0';

/** Each verb changes the limits of one entry, and returns the integers that precede theirs in the answer. */
export const VERBS: Readonly<
  Record<
    Exclude<Verb, 'reset'>,
    (
      held: readonly RuleState[],
      units: number,
      now: number,
      details: readonly string[],
      record: RecordState,
    ) => readonly number[]
  >
> = {
  allow(held, units, now) {
    if (judge(held, now)) {
      charge(held, units, now);
    }
    refuse(held, now);
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
      charge(held, granted, now);
    }
    refuse(held, now);
    return [granted];
  },

  penalize(held, units, now) {
    price(held, units);
    judge(held, now);
    for (const { limit, plan, state } of held) {
      if (units > 0) {
        limit.twin.penalize(state, plan, now);
      }
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
      if (mark !== '-' && units > 0) {
        limit.twin.refund(state, plan, mark, now);
      }
    });
    price(held, 1);
    judge(held, now);
    return [];
  },

  acquire(held, units, now, [lease]) {
    nameLease(held, lease!);
    const again = (holds(held, now) ?? 0) > 0;
    const passes = judge(held, now);
    if (again) {
      // A resent call, whose first answer was lost: it has its place, and its cost was charged then.
      for (const rule of held) {
        rule.passes ||= !rule.limit.shadow;
      }
      extend(held, now);
    } else if (passes) {
      charge(held, units, now);
    }
    refuse(held, now);
    return [];
  },

  reserve(held, units, now, [ttlMs], record) {
    const passes = judge(held, now);
    if (record.ends > now) {
      // The client resent the call, or it arrives after its own settlement.
      for (const rule of held) {
        rule.passes = true;
      }
    } else if (passes) {
      charge(held, units, now);
      record.receipts = held.map(({ limit, plan, state, passes: charged }) =>
        charged ? (units > 0 ? limit.twin.receipt(state, plan) : UNCHARGED) : '-',
      );
      record.ends = now + Number(ttlMs) * 1_000;
      record.settled = false;
      record.cost = units;
      record.changed = true;
    }
    refuse(held, now);
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
      // A limit that was not charged for the estimate stays as it is.
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

/** Charges as many of `units` as fit, debt included. Returns how many did not fit. */
function takeOn(rule: RuleState, units: number, now: number): number {
  const { limit, state } = rule;
  const taken = Math.min(units, limit.twin.room(state, rule.plan, now));
  if (taken > 0) {
    rule.plan = limit.twin.price(rule.plan, taken);
    limit.twin.judge(state, rule.plan, now);
    limit.twin.charge(state, rule.plan, now);
  }
  return units - taken;
}
