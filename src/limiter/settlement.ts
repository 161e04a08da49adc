import type { Cost } from '../base/decision.ts';
import { NamedCost } from './cost.ts';
import type { Asked } from './cost.ts';

/** The result of settling a reservation: units, by name where limits have units. */
export interface Settlement<Unit extends string = never> {
  /**
   * Units charged in the end: the actual cost less `uncharged`; what was reserved if the reservation had expired, 0 where
   * a resumed reservation had, because nothing tells any more.
   */
  readonly charged: Cost<Unit>;
  /**
   * Units of the actual cost that were not charged: they did not fit even into debt, or the reservation had expired.
   */
  readonly uncharged: Cost<Unit>;
  /** Whether the reservation had expired before it was settled. Its estimate stays charged, and nothing is refunded. */
  readonly expired: boolean;
}

/** What one limit was charged in the end, and what did not fit. */
interface SettledUnits {
  readonly charged: number;
  readonly uncharged: number;
}

/** A limit of a settlement by name: what it counts, and whether it is a shadow. */
export interface CountedUnit {
  readonly unit: string;
  readonly shadow: boolean;
}

/**
 * The result by name: of each unit that of its enforced limits. Where it has only shadows, the actual cost, because
 * nothing was refused for want of them.
 */
export function settledByUnit(
  counted: readonly CountedUnit[],
  settled: readonly SettledUnits[],
): { readonly charged: Cost; readonly uncharged: Cost } {
  const charged: Record<string, number> = Object.create(null);
  const uncharged: Record<string, number> = Object.create(null);
  for (const [i, { unit, shadow }] of counted.entries()) {
    if (!shadow || counted.every((each) => each.shadow || each.unit !== unit)) {
      const missing = shadow ? 0 : settled[i]!.uncharged;
      const taken = settled[i]!.charged + settled[i]!.uncharged - missing;
      charged[unit] = Math.min(charged[unit] ?? Infinity, taken);
      uncharged[unit] = Math.max(uncharged[unit] ?? 0, missing);
    }
  }
  return { charged: { ...charged }, uncharged: { ...uncharged } };
}

function namesOf(...costs: readonly Asked[]): readonly string[] {
  return [
    ...new Set(costs.flatMap((each) => (typeof each === 'number' ? [] : Object.keys(each.byName)))),
  ];
}

function unitsIn(cost: Asked, unit: string): number {
  return typeof cost === 'number' ? cost : (cost.of(unit) ?? 0);
}

/** The units of both. */
export function sum(one: Asked, other: Asked): Asked {
  return typeof one === 'number' || typeof other === 'number'
    ? (one as number) + (other as number)
    : new NamedCost(
        Object.fromEntries(
          namesOf(one, other).map((unit) => [unit, unitsIn(one, unit) + unitsIn(other, unit)]),
        ),
      );
}

/** The actual units, and those reserved of the kinds that it leaves out. */
export function merge(reserved: Asked, actual: Asked): Asked {
  return typeof reserved === 'number' || typeof actual === 'number'
    ? actual
    : new NamedCost({ ...reserved.byName, ...actual.byName });
}

/** None of the units that it names. */
export function nothingOf(cost: Asked): Cost {
  return typeof cost === 'number' ? 0 : Object.fromEntries(namesOf(cost).map((unit) => [unit, 0]));
}

/** What stays charged of a reservation that has expired, undefined if it was never charged, and what is not charged. */
export function expired(
  reserved: Asked | undefined,
  actual: Asked,
): Pick<Settlement<string>, 'charged' | 'uncharged'> {
  if (typeof actual === 'number') {
    const charged = (reserved as number | undefined) ?? 0;
    return { charged, uncharged: Math.max(0, actual - charged) };
  }
  const names = reserved === undefined ? namesOf(actual) : namesOf(reserved, actual);
  const chargedOf = (unit: string): number =>
    reserved === undefined ? 0 : unitsIn(reserved, unit);
  return {
    charged: Object.fromEntries(names.map((unit) => [unit, chargedOf(unit)])),
    uncharged: Object.fromEntries(
      names.map((unit) => [unit, Math.max(0, (actual.of(unit) ?? 0) - chargedOf(unit))]),
    ),
  };
}
