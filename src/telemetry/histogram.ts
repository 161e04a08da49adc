/** Counts a distribution of values, for each combination of one or two labels; these have few values. */
export class Histogram {
  readonly buckets: readonly number[];
  readonly #series = new Map<string, Map<string, Distribution>>();

  /** Upper bounds, ascending. */
  constructor(buckets: readonly number[]) {
    this.buckets = buckets;
  }

  observe(first: string, second: string, value: number): void {
    let bySecond = this.#series.get(first);
    if (bySecond === undefined) {
      bySecond = new Map();
      this.#series.set(first, bySecond);
    }
    let series = bySecond.get(second);
    if (series === undefined) {
      series = new Distribution(this.buckets.length);
      bySecond.set(second, series);
    }
    let bucket = 0;
    while (bucket < this.buckets.length && value > this.buckets[bucket]!) {
      bucket += 1;
    }
    series.add(bucket, value);
  }

  *[Symbol.iterator](): Generator<[first: string, second: string, series: Distribution]> {
    for (const [first, bySecond] of this.#series) {
      for (const [second, series] of bySecond) {
        yield [first, second, series];
      }
    }
  }

  reset(): void {
    this.#series.clear();
  }
}

class Distribution {
  readonly #counts: number[];
  count = 0;
  sum = 0;

  constructor(buckets: number) {
    this.#counts = Array.from({ length: buckets + 1 }, () => 0);
  }

  add(bucket: number, value: number): void {
    this.#counts[bucket]! += 1;
    this.count += 1;
    this.sum += value;
  }

  /** The number of values up to each bound. */
  get cumulative(): readonly number[] {
    let sum = 0;
    return this.#counts.slice(0, -1).map((count) => (sum += count));
  }
}
