import { CALLS } from '../algorithms/limit.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import type { Cost } from '../base/decision.ts';
import { optionError, show } from '../base/errors.ts';
import type { RateLimiterError } from '../base/errors.ts';
import { readable } from '../options/read-options.ts';

/** The most names that a cost may have: one per limit of a call and of its limiter. */
const MAX_NAMES = 32;

/** Units by what they count. */
export type UnitsByName = Readonly<Record<string, number>>;

/** What a call asks of limits that count different units. */
export class NamedCost {
  readonly byName: UnitsByName;
  /** Equal for costs that ask the same. */
  readonly key: string;

  constructor(byName: UnitsByName) {
    this.byName = Object.freeze(byName);
    this.key = Object.entries(byName)
      .map(([unit, count]) => `${unit}=${count}`)
      .sort()
      .join();
  }

  /** Undefined for a unit that the call does not ask for. */
  of(unit: string): number | undefined {
    return Object.hasOwn(this.byName, unit) ? this.byName[unit] : undefined;
  }

  get isNothing(): boolean {
    return Object.values(this.byName).every((count) => count === 0);
  }
}

/** A checked cost: a number where no limit has a unit. */
export type Asked = number | NamedCost;

/** What a limit counts in a limiter with units. */
export function unitOf({ unit }: AnyLimit): string {
  return unit ?? CALLS;
}

/** The cost as decisions report it. */
export function costOf(asked: Asked): Cost {
  return typeof asked === 'number' ? asked : asked.byName;
}

/** The cost of a call that asks for one unit of each kind, of which a penalty or a refund is answered. */
export function costOfOne(cost: Cost): Cost {
  return typeof cost === 'number'
    ? 1
    : Object.fromEntries(Object.keys(cost).map((unit) => [unit, 1]));
}

/** The same as a call asks it. */
export function askedOfOne(asked: Asked): Asked {
  return typeof asked === 'number' ? 1 : new NamedCost(costOfOne(asked.byName) as UnitsByName);
}

/** Reads a whole number of units, or whole numbers by name. */
export function readCost(option: string, cost: unknown, most?: number): Cost {
  return isByName(cost)
    ? readable(option, () => readByName(option, cost, most))
    : readNumber(option, cost, most);
}

/** Reads the number that a call gives. Units by name are read with the limits that the call has. */
export function readGivenCost(option: string, cost: unknown): Cost {
  return isByName(cost) ? (cost as UnitsByName) : readNumber(option, cost);
}

/** Excludes arrays, maps and promises. An object of another realm has that realm's prototype. */
export function isByName(cost: unknown): cost is object {
  if (typeof cost !== 'object' || cost === null) {
    return false;
  }
  try {
    const prototype: unknown = Object.getPrototypeOf(cost);
    return prototype === null || Object.getPrototypeOf(prototype) === null;
  } catch {
    return false; // a proxy may throw
  }
}

/** @throws {RateLimiterError} `ERR_INVALID_COST` for anything but a whole number up to `most` */
export function readNumber(
  option: string,
  cost: unknown,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  if (!(Number.isSafeInteger(cost) && (cost as number) >= 0 && (cost as number) <= most)) {
    throw notWhole(option, cost, most);
  }
  return (cost as number) + 0; // -0 is 0
}

function notWhole(option: string, cost: unknown, most: number, cure = ''): RateLimiterError {
  return invalidCost(
    option,
    `be a whole number from 0 to ${most}`,
    `got ${show(cost)}`,
    `For fractions count a smaller unit.${cure}`,
  );
}

/** For a cost by name where no limit has a unit. */
export function namesNothing(option: string, cost: object): RateLimiterError {
  return notWhole(
    option,
    cost,
    Number.MAX_SAFE_INTEGER,
    " To name units, give a limit one: tokenBucket({ name, rate, period, unit: 'tokens' }).",
  );
}

function readByName(option: string, cost: object, most?: number): UnitsByName {
  const names = Object.keys(cost);
  if (names.length > MAX_NAMES) {
    throw invalidCost(
      option,
      `name at most ${MAX_NAMES} units`,
      `got ${names.length}`,
      'Name each unit once.',
    );
  }
  return Object.fromEntries(
    names.map((name) => [
      name,
      readNumber(`${option}.${name.slice(0, 80)}`, (cost as Record<string, unknown>)[name], most),
    ]),
  );
}

export function invalidCost(
  option: string,
  rule: string,
  found: string,
  cure: string,
): RateLimiterError {
  return optionError(option, rule, found, cure, { code: 'ERR_INVALID_COST' });
}

/** Units as they are written in code: `{ calls: 1, tokens: 1200 }`. */
export function example(units: Iterable<string>): string {
  return `{ ${[...units].map((unit) => `${unit}: ${unit === CALLS ? 1 : 100}`).join(', ')} }`;
}

/** Refuses names that no limit counts. */
export function checkNames(option: string, byName: UnitsByName, known: ReadonlySet<string>): void {
  for (const name of Object.keys(byName)) {
    if (!known.has(name)) {
      throw invalidCost(
        option,
        `name units that a limit counts (${[...known].join(', ')})`,
        `got ${show(name)}`,
        'Give a limit this `unit`, or correct the name.',
      );
    }
  }
}
