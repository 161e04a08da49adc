import type { AnyLimit } from '../algorithms/limit.ts';
import type { Asked } from './cost.ts';
import { askedOf } from './limit-units.ts';

/** What a call's cost is in units of a slice. */
export interface SliceCost {
  /** 0 if the store has to be asked, because some limit is asked for nothing. */
  readonly units: number;
  /** The calls that a slice serves, where limits have units: those that ask the same limits in the same way. */
  readonly kind: string | undefined;
}

/**
 * Where a call asks its limits for different numbers of units, such as 1 call and 500 tokens, a unit of a slice is one
 * call that asks for exactly as many.
 */
export function sliceCostOf(limits: readonly AnyLimit[], cost: Asked): SliceCost {
  if (typeof cost === 'number') {
    return { units: cost, kind: undefined };
  }
  const asks = limits.flatMap((limit) => askedOf(limit, cost) ?? []);
  const [first = 0] = asks;
  if (asks.includes(0)) {
    return { units: 0, kind: undefined };
  }
  return asks.every((units) => units === first)
    ? { units: first, kind: Object.keys(cost.byName).toSorted().join() }
    : { units: 1, kind: cost.key };
}
