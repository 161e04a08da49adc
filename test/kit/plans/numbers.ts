import type { Random } from '../random.mjs';

/** The numbers of a token bucket. */
export interface Numbers {
  readonly rate: number;
  readonly periodMs: number;
  readonly burst: number;
  readonly maxDebt: number;
  readonly shadow: boolean;
}

/** A unit recovers in `p / n` microseconds. */
export function spacing({ rate, periodMs }: Numbers): { p: bigint; n: bigint } {
  let [a, b] = [BigInt(rate), BigInt(periodMs) * 1_000n];
  const period = b;
  while (b > 0n) {
    [a, b] = [b, a % b];
  }
  return { p: period / a, n: BigInt(rate) / a };
}

/** Rounded up, of numbers that are not negative. */
export function divideUp(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

/** The longest wait that a bucket may ask for: its full recovery and a second, in microseconds. */
export function longestWait(numbers: Numbers): number {
  const { p, n } = spacing(numbers);
  return Number(divideUp(BigInt(numbers.burst + numbers.maxDebt) * p, n)) + 1_000_001;
}

export function randomNumbers(random: Random): Numbers {
  return {
    rate: random.pick([1, 3, 7, 10, 100, 999, 1_000]),
    periodMs: random.pick([1, 1_000, 7_000, 60_000, 3_600_000]),
    burst: random.pick([1, 2, 5, 20, 100]),
    maxDebt: random.pick([0, 0, 0, 3, 30]),
    shadow: random.chance(5),
  };
}

/** A bound that is never rounded: at most `burst + rate · Δ` units within any Δ. */
export class Bound {
  readonly #p: bigint;
  readonly #n: bigint;
  readonly #burst: bigint;
  #used = 0n;

  /** The greatest burst and the fastest rate of several limits. */
  constructor(all: readonly Numbers[], burst: number = Math.max(...all.map((each) => each.burst))) {
    const fastest = all.map(spacing).reduce((a, b) => (a.p * b.n < b.p * a.n ? a : b));
    this.#p = fastest.p;
    this.#n = fastest.n;
    this.#burst = BigInt(burst);
  }

  /** Units by which a charge at this instant exceeds the bound, rounded up; 0 within it. */
  charge(units: number, at: number): number {
    const instant = BigInt(at) * this.#n;
    this.#used = (this.#used > instant ? this.#used : instant) + BigInt(units) * this.#p;
    const excess = this.#used - instant - this.#burst * this.#p;
    return excess > 0n ? Number(divideUp(excess, this.#p)) : 0;
  }

  /** Drops what was charged. */
  forget(): void {
    this.#used = 0n;
  }
}
