/**
 * Random choices that a seed repeats exactly, for tests over random traces. Not for secrets.
 *
 * @example
 * const random = new Random(7);
 * random.int(1, 6); // the same roll in every run
 */
export class Random {
  /** State of sfc32: a small generator that passes the usual batteries of tests. */
  #a = 0x9e3779b9;
  #b = 0x243f6a88;
  #c: number;
  #counter = 1;

  /** @param seed a whole number; only its lowest 32 bits count */
  constructor(seed: number) {
    this.#c = seed | 0;
    for (let i = 0; i < 15; i++) {
      this.#next();
    }
  }

  /** A whole number from `min` to `max`, both included. Their distance is at most 2^53 - 2. */
  int(min: number, max: number): number {
    const bits53 = (this.#next() >>> 5) * 2 ** 26 + (this.#next() >>> 6);
    return min + (bits53 % (max - min + 1));
  }

  /** A whole number from `min` (at least 1) to `max`, each order of magnitude as likely as any other. */
  magnitude(min: number, max: number): number {
    const exact = min * (max / min) ** (this.int(0, 1_000_000) / 1_000_000);
    return Math.min(max, Math.max(min, Math.round(exact)));
  }

  /** True in `percent` of 100 cases. */
  chance(percent: number): boolean {
    return this.int(1, 100) <= percent;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)] as T;
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum;
  }
}

/**
 * The seed in the environment variable `DRL_SEED`: a whole number, or `random` for a new one. Without it the same seed
 * in every run, so that a change is never refused for a fault that was there before: the long run looks for those.
 * Print it: it repeats the run.
 */
export function seedOfRun(): number {
  const given = process.env['DRL_SEED'] ?? '20260101';
  return given === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(given);
}
