import { Limit } from '../algorithms/limit.ts';
import { MAX_LIMITS } from './limit-set.ts';
import type { LimitSet } from './limit-set.ts';

/** Sets kept by their limits' numbers; beyond them the one made first is forgotten, and made again when it is needed. */
const MAX_SETS = 256;

/** The sets of limits that calls bring with them: each is checked and planned once, also where limits are made anew for each call. */
export class CallLimits {
  readonly #make: (limits: unknown) => LimitSet;
  readonly #byArray = new WeakMap<object, LimitSet>();
  readonly #byNumbers = new Map<string, LimitSet>();

  /** `make` throws for what is no array of limits. */
  constructor(make: (limits: unknown) => LimitSet) {
    this.#make = make;
  }

  of(limits: unknown): LimitSet {
    const known = this.#byArray.get(limits as object);
    if (known !== undefined) {
      return known;
    }
    const numbers = numbersOf(limits);
    const set =
      (numbers === undefined ? undefined : this.#byNumbers.get(numbers)) ?? this.#make(limits);
    this.#byArray.set(limits as object, set);
    if (numbers !== undefined && !this.#byNumbers.has(numbers)) {
      if (this.#byNumbers.size >= MAX_SETS) {
        this.#byNumbers.delete(this.#byNumbers.keys().next().value!);
      }
      this.#byNumbers.set(numbers, set);
    }
    return set;
  }
}

/** Undefined for what is no array of this package's limits. */
function numbersOf(limits: unknown): string | undefined {
  if (!Array.isArray(limits) || limits.length > MAX_LIMITS) {
    return undefined;
  }
  let numbers = '';
  for (const limit of limits) {
    if (!(limit instanceof Limit)) {
      return undefined;
    }
    numbers += `${limit.spelling}\n`;
  }
  return numbers;
}
