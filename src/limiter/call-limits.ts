import { Limit } from '../algorithms/limit.ts';
import { MAX_LIMITS } from './read-limits.ts';
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
  readonly #bySpelling = new Map<string, LimitSet>();

  /** `make` throws for an invalid array of limits. */
  constructor(make: (limits: unknown) => LimitSet) {
    this.#make = make;
  }

  get(limits: unknown): LimitSet {
    const known = this.#byArray.get(limits as object);
    if (known !== undefined) {
      return known;
    }
    const spelling = spellingOf(limits);
    const set =
      (spelling === undefined ? undefined : this.#bySpelling.get(spelling)) ?? this.#make(limits);
    this.#byArray.set(limits as object, set);
    if (spelling !== undefined && !this.#bySpelling.has(spelling)) {
      if (this.#bySpelling.size >= MAX_SETS) {
        this.#bySpelling.delete(this.#bySpelling.keys().next().value!);
      }
      this.#bySpelling.set(spelling, set);
    }
    return set;
  }
}

/** Undefined for a value that is no array of this package's limits. */
function spellingOf(limits: unknown): string | undefined {
  if (!Array.isArray(limits) || limits.length > MAX_LIMITS) {
    return undefined;
  }
  let spelling = '';
  for (const limit of limits) {
    if (!(limit instanceof Limit)) {
      return undefined;
    }
    spelling += `${limit.spelling}\n`;
  }
  return spelling;
}
