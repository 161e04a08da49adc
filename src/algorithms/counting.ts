import type { Algorithm, Plan, State } from './limit.ts';

/** A plan of a limit that counts units. */
export interface CountingPlan extends Plan {
  /** Units that may count at a time. */
  readonly rate: number;
  /** Units up to which a penalty or a settlement may raise the count: the rate plus `maxDebt`. */
  readonly ceiling: number;
}

/**
 * Shared by limits that cap a count of units: both windows and the log. `counted` gives the units that count now, and
 * `take` adds units.
 */
export function counting<P extends CountingPlan, S extends State>(
  counted: (state: S, plan: P, now: number) => number,
  take: (state: S, plan: P, units: number, now: number) => void,
): Pick<Algorithm<P, S>, 'price' | 'charge' | 'fits' | 'room' | 'penalize'> {
  return {
    price: (plan, units) => ({ ...plan, cost: units }),

    charge(state, plan, now) {
      take(state, plan, plan.cost, now);
    },

    fits: (state, plan, now) => Math.max(0, plan.rate - counted(state, plan, now)),

    room: (state, plan, now) => Math.max(0, plan.ceiling - counted(state, plan, now)),

    penalize(state, plan, now) {
      const units = Math.min(plan.cost, plan.ceiling - counted(state, plan, now));
      if (units > 0) {
        take(state, plan, units, now);
      }
    },
  };
}
