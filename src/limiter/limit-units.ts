import { CALLS } from '../algorithms/limit.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import type { GivenCost } from '../base/decision.ts';
import { show } from '../base/errors.ts';
import {
  checkNames,
  example,
  invalidCost,
  isByName,
  namesNothing,
  NamedCost,
  readCost,
  readNumber,
  unitOf,
} from './cost.ts';
import type { Asked, UnitsByName } from './cost.ts';

/** How a verb reads its cost. */
export interface AskOptions {
  /** How many calls a cost by name asks for if it does not say; 0 for verbs that need a cost. Default 1. */
  readonly calls?: 0 | 1;
  /** Whether units that no limit of the call counts will do. Default false. */
  readonly mayAskNothing?: boolean;
  /** The most units of one kind. */
  readonly most?: number;
}

/** What the limits of a call count, and what its cost asks of each. */
export class LimitUnits {
  /** Whether calls give their cost by name: these limits, or those of their limiter, have units. */
  readonly hasUnits: boolean;
  /** What these limits count. */
  readonly counted: ReadonlySet<string>;
  readonly #limits: readonly AnyLimit[];
  /** The units that a cost may name: those of the limiter's limits and of the call's. */
  readonly #known: ReadonlySet<string>;

  /** `own`: of the limiter's own limits, in whose place these are passed with a call. */
  constructor(limits: readonly AnyLimit[], own?: LimitUnits) {
    this.#limits = limits;
    this.hasUnits = own?.hasUnits === true || limits.some(({ unit }) => unit !== undefined);
    this.counted = new Set(limits.map(unitOf));
    this.#known = new Set([CALLS, ...(own?.counted ?? []), ...this.counted]);
  }

  /**
   * Reads a cost under these limits. Undefined is the cost of a call that gives none.
   *
   * @throws {RateLimiterError} `ERR_INVALID_COST` for a number where limits have units, names where none has; for units
   * that no limit counts; for a cost that asks no enforced limit for anything
   */
  ask(
    option: string,
    given: unknown,
    { calls = 1, mayAskNothing = false, most }: AskOptions = {},
  ): Asked {
    if (!this.hasUnits) {
      if (isByName(given)) {
        throw namesNothing(option, given);
      }
      return given === undefined && calls === 1 ? 1 : readNumber(option, given, most);
    }
    const cost = given === undefined && calls === 1 ? {} : readCost(option, given, most);
    const mine = this.counted;
    if (cost === 0) {
      return new NamedCost(Object.fromEntries([...mine].map((unit) => [unit, 0])));
    }
    if (typeof cost === 'number') {
      throw invalidCost(
        option,
        'name the units that limits count',
        `got ${show(cost)}`,
        `Write ${example(mine)}.`,
      );
    }
    checkNames(option, cost, this.#known);
    const asksOne = calls === 1 && !Object.hasOwn(cost, CALLS);
    const byName: UnitsByName = asksOne && mine.has(CALLS) ? { [CALLS]: 1, ...cost } : { ...cost };
    const asked = new NamedCost(byName);
    const mayAsk = mayAskNothing || this.#limits.length === 0 || (!asksOne && asked.isNothing);
    if (!mayAsk && !this.consults(asked)) {
      const got = Object.keys(byName).join(', ');
      throw invalidCost(
        option,
        'ask at least one enforced limit',
        `got ${got === '' ? 'no unit' : show(got)}`,
        `The limits of this call count ${[...mine].join(', ')}: write ${example(mine)}.`,
      );
    }
    return asked;
  }

  /** Whether an enforced limit is asked; where all are shadows, whether any is. */
  consults(asked: NamedCost): boolean {
    const enforced = this.#limits.filter(({ shadow }) => !shadow);
    return (enforced.length === 0 ? this.#limits : enforced).some(
      (limit) => askedOf(limit, asked) !== undefined,
    );
  }
}

/** Units that a call asks for under this limit; undefined if it does not ask it. */
export function askedOf(limit: AnyLimit, asked: Asked): number | undefined {
  if (typeof asked === 'number') {
    return asked;
  }
  // A lease takes one place, whatever the cost.
  return asked.of(unitOf(limit)) ?? (limit.twin.lending === undefined ? undefined : 0);
}

/**
 * Checks a cost that every call gives, before the first of them; undefined is the cost of calls that give none.
 *
 * @param own the limiter's own limits
 * @param limits those of every call, if not `own`; `'unknown'` if each call brings its own
 * @throws {RateLimiterError} `ERR_INVALID_COST` if every call would
 */
export function checkCost(
  option: string,
  cost: GivenCost | undefined,
  own: readonly AnyLimit[],
  limits: readonly AnyLimit[] | 'unknown' | undefined,
): Asked | undefined {
  const ofOwn = new LimitUnits(own);
  if (limits !== 'unknown') {
    return (limits === undefined ? ofOwn : new LimitUnits(limits, ofOwn)).ask(option, cost);
  }
  // Limits of a call may have units of their own, but those of the limiter forbid plain numbers.
  return typeof cost === 'number' ? ofOwn.ask(option, cost) : undefined;
}
