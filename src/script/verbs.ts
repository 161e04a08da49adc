import { countRefusals } from '../algorithms/ban.ts';
import type { Limit, Plan, State } from '../algorithms/limit.ts';
import {
  isAdded,
  isCharged,
  NOT_CHARGED,
  UNCHARGED,
  unitsOf,
  withAdd,
  withPiece,
} from './reservation-record.ts';
import type { Piece, RecordState } from './reservation-record.ts';
import type { SliceRequest } from '../algorithms/limit.ts';
import { countHolders, noteHolder } from './slice-holders.ts';
import type { HoldersState } from './slice-holders.ts';
import type { Verb } from './call-shape.ts';

/** One limit while one entry is decided. */
interface RuleState {
  readonly limit: Limit;
  plan: Plan;
  /** Units that the entry asks for under this limit. */
  readonly units: number;
  /** Whether the entry asks this limit at all. */
  readonly asked: boolean;
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

/** Each limit at the units that are asked of it. */
function priceAsked(held: readonly RuleState[]): void {
  for (const rule of held) {
    rule.plan = rule.limit.twin.price(rule.plan, rule.units);
  }
}

/** Whether every enforced limit lets the entry pass. Notes the verdict of each limit. */
function judge(held: readonly RuleState[], now: number): boolean {
  let passes = true;
  for (const rule of held) {
    rule.passes = rule.limit.twin.judge(rule.state, rule.plan, now) || !rule.asked;
    passes &&= rule.passes || rule.limit.shadow;
  }
  return passes;
}

/** Charges the limits that let the entry pass. A cost of 0 takes places, and no units. */
function charge(held: readonly RuleState[], now: number): void {
  for (const rule of held) {
    if (rule.passes && (rule.units > 0 || rule.limit.twin.lending !== undefined)) {
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

/** Counts a refusal for bans, which are the last rules. */
function countForBans(held: readonly RuleState[], now: number): void {
  if (held.at(-1)?.limit.algorithm === 'ban') {
    countRefusals(held, now);
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

/** Lets a resent call pass as the first one did: a shadow that refused the estimate refuses it again. */
function passAgain(held: readonly RuleState[], { pieces }: RecordState): void {
  for (const [i, rule] of held.entries()) {
    rule.passes = !rule.limit.shadow || pieces[i] === undefined || isCharged(pieces[i]);
  }
}

/** Each verb changes the limits of one entry, and returns the integers that precede theirs in the answer. */
export const VERBS: Readonly<
  Record<
    Exclude<Verb, 'reset' | 'recall'>,
    (
      held: readonly RuleState[],
      units: number,
      now: number,
      details: readonly string[],
      record: RecordState,
      told: string,
    ) => readonly number[]
  >
> = {
  allow(held, _units, now) {
    if (judge(held, now)) {
      charge(held, now);
    }
    refuse(held, now);
    countForBans(held, now);
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
    refuse(held, now);
    countForBans(held, now);
    return [granted];
  },

  penalize(held, _units, now) {
    priceAsked(held);
    judge(held, now);
    for (const { limit, plan, state, units } of held) {
      if (units > 0) {
        limit.twin.penalize(state, plan, now);
      }
    }
    price(held, 1);
    judge(held, now);
    return [];
  },

  credit(held, _units, now) {
    judge(held, now);
    for (const { limit, plan, state, units } of held) {
      if (units > 0) {
        limit.twin.credit?.(state, plan, units, now);
      }
    }
    price(held, 1);
    judge(held, now);
    return [];
  },

  refund(held, _units, now, details) {
    priceAsked(held);
    judge(held, now);
    held.forEach(({ limit, plan, state, units }, i) => {
      const mark = details[i]!;
      if (mark !== '-' && units > 0) {
        limit.twin.refund(state, plan, mark, now);
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
      // A resent call, whose first answer was lost: it has its place, and its cost was charged then.
      for (const rule of held) {
        rule.passes ||= !rule.limit.shadow;
      }
      extend(held, now);
    } else if (passes) {
      charge(held, now);
    }
    refuse(held, now);
    if (!again) {
      countForBans(held, now);
    }
    return [];
  },

  reserve(held, _units, now, [ttlMs], record, told) {
    const passes = judge(held, now);
    const again = record.ends > now;
    if (again) {
      // The client resent the call, or it arrives after its own settlement.
      passAgain(held, record);
    } else if (passes) {
      charge(held, now);
      record.pieces = held.map(({ limit, plan, state, units, passes: charged }) => [
        {
          units,
          receipt: !charged ? NOT_CHARGED : units > 0 ? limit.twin.receipt(state, plan) : UNCHARGED,
        },
      ]);
      record.ends = now + Number(ttlMs) * 1_000;
      record.settled = false;
      record.adds = [];
      record.told = told;
      record.changed = true;
    }
    refuse(held, now);
    if (!again) {
      countForBans(held, now);
    }
    return [];
  },

  grant(held, each, now, [process, want, hold, ahead], record) {
    const passes = judge(held, now);
    if (passes) {
      charge(held, now);
    }
    refuse(held, now);
    const list = record as State as HoldersState;
    const request = {
      want: Number(want),
      hold: Number(hold),
      ahead: Number(ahead),
      holders: countHolders(list, process!),
    };
    const slicing = held.filter(({ limit }) => limit.twin.slicing !== undefined);
    const isBlocked = held.some((rule) => !rule.passes && !slicing.includes(rule));
    const times = (rule: RuleState): number => (each === 0 ? rule.units : 1);
    let units = passes ? leastOf(slicing, 'offer', request, times, now) : 0;
    if (units === 0 && request.ahead > 0 && !isBlocked) {
      units = leastOf(slicing, 'turn', request, times, now);
    }
    if (slicing.some((rule) => units * times(rule) < rule.plan.cost)) {
      return Array<number>(2 + 2 * held.length).fill(0);
    }
    const ends = slicing.reduce(
      (first, { limit, plan, state }) =>
        Math.min(first, limit.twin.slicing!.ends(state, plan, request, now)),
      Infinity,
    );
    noteHolder(list, process!, ends);
    const opens = slicing.map((rule) => {
      const { limit, plan, state } = rule;
      return limit.twin.slicing!.opens(state, plan, units * times(rule), request, now);
    });
    return [
      units,
      ends - now,
      ...held.flatMap((rule) => {
        const { limit, plan, state } = rule;
        const others = Math.max(now, ...opens.filter((_, s) => slicing[s] !== rule));
        const its = units * times(rule);
        return limit.twin.slicing?.cut(state, plan, its, request, others, ends, now) ?? [0, 0];
      }),
    ];
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

  add(held, _units, now, [add], record) {
    const passes = judge(held, now);
    if (record.ends <= now || record.settled) {
      return [0];
    }
    if (isAdded(record.adds, add!)) {
      // A resent call, whose first answer was lost.
      passAgain(held, record);
    } else if (passes) {
      record.pieces = held.map(({ limit, plan, state, units, passes: fits }, i) => {
        const pieces = record.pieces[i]!;
        if (!fits || units === 0 || !isCharged(pieces)) {
          return pieces;
        }
        limit.twin.charge(state, plan, now);
        return withPiece(pieces, { units, receipt: limit.twin.receipt(state, plan) });
      });
      record.adds = withAdd(record.adds, add!);
      record.changed = true;
    }
    refuse(held, now);
    return [1];
  },

  settle(held, _units, now, [actualUnits, keepMs, unreserved], record, told) {
    const isHeld = record.ends > now;
    const actuals = actualUnits!.split(',');
    if (isHeld && record.settled) {
      return interleave(record.charged, record.uncharged);
    }
    if (!isHeld && unreserved !== '1') {
      return interleave(
        actuals.map(() => -1),
        actuals.map(() => 0),
      );
    }
    price(held, 1);
    judge(held, now);
    const charged: number[] = [];
    const missing: number[] = [];
    held.forEach((rule, i) => {
      const pieces = isHeld ? record.pieces[i]! : [];
      const estimate = unitsOf(pieces);
      const text = actuals.length === 1 ? actuals[0]! : actuals[i]!;
      const actual = text === '-' ? estimate : Number(text);
      let uncharged = 0;
      // A limit that was not charged for the estimate stays as it is.
      if (pieces.length === 0 || isCharged(pieces)) {
        if (actual > estimate) {
          uncharged = takeOn(rule, actual - estimate, now);
        } else {
          giveBack(rule, pieces, estimate - actual, now);
        }
      }
      charged.push(actual - uncharged);
      missing.push(uncharged);
    });
    if (actuals.length === 1) {
      const most = held.reduce(
        (least, { limit }, i) => (limit.shadow ? least : Math.max(least, missing[i]!)),
        0,
      );
      record.charged = [charged[0]! + missing[0]! - most];
      record.uncharged = [most];
    } else {
      record.charged = charged;
      record.uncharged = missing;
    }
    record.ends = Math.max(record.ends, now + Number(keepMs) * 1_000);
    record.settled = true;
    record.told = told;
    record.pieces = [];
    record.changed = true;
    return interleave(record.charged, record.uncharged);
  },
};

/** The most units of a slice that every limit gives. `times`: how many of a limit's own units each unit of it is. */
function leastOf(
  held: readonly RuleState[],
  step: 'offer' | 'turn',
  request: SliceRequest,
  times: (rule: RuleState) => number,
  now: number,
): number {
  return held.reduce((most, rule) => {
    const { limit, plan, state } = rule;
    const own = { ...request, want: request.want * times(rule) };
    return Math.min(
      most,
      Math.floor(limit.twin.slicing![step](state, plan, own, now) / times(rule)),
    );
  }, request.want);
}

/** The answer to `settle`: units charged and units that were not, of the call or of each limit in turn. */
function interleave(charged: readonly number[], uncharged: readonly number[]): readonly number[] {
  return charged.flatMap((units, i) => [units, uncharged[i]!]);
}

/** Gives back `units` of the charges, the newest first. */
function giveBack(
  { limit, plan, state }: RuleState,
  pieces: readonly Piece[],
  units: number,
  now: number,
): void {
  let left = units;
  for (let p = pieces.length - 1; p >= 0 && left > 0; p--) {
    const { units: most, parsed } = pieces[p]!;
    const part = Math.min(left, most);
    if (parsed !== undefined) {
      limit.twin.restore(state, plan, parsed, part, now);
    }
    left -= part;
  }
}

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
