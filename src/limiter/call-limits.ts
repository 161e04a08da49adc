import { Limit } from '../algorithms/limit.ts';
import { MAX_LIMITS } from './limit-set.ts';
import type { LimitSet } from './limit-set.ts';

/** The most sets kept by their limits' numbers. Beyond it the oldest set is dropped, and made again when needed. */
const MAX_SETS = 256;

/**
 * Caches the sets of limits that calls pass: each is checked and planned once, even if calls make new limits each
 * time.
 */
export class CallLimits {
  readonly #make: (limits: unknown) => LimitSet;
  readonly #byArray = new WeakMap<object, LimitSet>();
  readonly #byNumbers = new Map<string, LimitSet>();

  /** `make` throws for an invalid array of limits. */
  constructor(make: (limits: unknown) => LimitSet) {
    this.#make = make;
  }

  get(limits: unknown): LimitSet {
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

/** Undefined for a value that is no array of this package's limits. */
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
