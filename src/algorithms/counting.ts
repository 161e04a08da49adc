import type { Algorithm, Plan, State } from './limit.ts';

/** A plan of a limit that counts units. */
export interface CountingPlan extends Plan {
  /** How many may count at a time. */
  readonly rate: number;
  /** The most that a penalty may drive what counts to. */
  readonly ceiling: number;
}

/**
 * What the limits have in common that count units, of which so many may count at a time: from the units that count
 * now, and what counts so many more.
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
