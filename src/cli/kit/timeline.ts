const SECOND = 1_000_000;
const DAY = 86_400 * SECOND;
/** Lengths of a bucket, in microseconds. Each is a multiple of the one before, so that buckets can be merged. */
const STEPS: readonly number[] = [
  SECOND,
  10 * SECOND,
  60 * SECOND,
  600 * SECOND,
  3_600 * SECOND,
  6 * 3_600 * SECOND,
  DAY,
  7 * DAY,
  28 * DAY,
  364 * DAY,
];
const MOST_KEPT = 1_000;

/** Counts of one stretch of time: of each policy what it refused. */
export interface Bucket {
  /** Number of the bucket since the Unix epoch. */
  index: number;
  requests: number;
  readonly refused: number[];
}

/**
 * Counts requests and refusals over a time whose length is not known beforehand, in at most 1,000 buckets: where there
 * would be more, they become longer. Times must not go back.
 */
export class Timeline {
  readonly #policies: number;
  #step = 0;
  #buckets: Bucket[] = [];
  #last: Bucket | undefined;

  constructor(policies: number) {
    this.#policies = policies;
  }

  /** The bucket of an instant, to count in. */
  at(micros: number): Bucket {
    const index = Math.floor(micros / STEPS[this.#step]!);
    if (this.#last?.index === index) {
      return this.#last;
    }
    if (this.#buckets.length >= MOST_KEPT && this.#step < STEPS.length - 1) {
      this.#buckets = merged(this.#buckets, STEPS[this.#step]!, STEPS[this.#step + 1]!);
      this.#step += 1;
      this.#last = this.#buckets.at(-1);
      return this.at(micros);
    }
    const bucket = { index, requests: 0, refused: Array<number>(this.#policies).fill(0) };
    this.#buckets.push(bucket);
    this.#last = bucket;
    return bucket;
  }

  /** Buckets of one length without a gap, as few as `most` if that is possible, and their length in microseconds. */
  rows(most: number): { readonly stepMicros: number; readonly rows: readonly Bucket[] } {
    const first = this.#buckets[0];
    const last = this.#buckets.at(-1);
    if (first === undefined || last === undefined) {
      return { stepMicros: STEPS[0]!, rows: [] };
    }
    const own = STEPS[this.#step]!;
    const spanOf = (step: number): number =>
      Math.floor((last.index * own) / step) - Math.floor((first.index * own) / step) + 1;
    const step =
      STEPS.slice(this.#step).find((each) => spanOf(each) <= most) ?? STEPS[STEPS.length - 1]!;
    const kept = merged(this.#buckets, own, step);
    const byIndex = new Map(kept.map((bucket) => [bucket.index, bucket]));
    const from = kept[0]!.index;
    const rows = Array.from({ length: Math.min(spanOf(step), MOST_KEPT) }, (_, i) => {
      const empty = {
        index: from + i,
        requests: 0,
        refused: Array<number>(this.#policies).fill(0),
      };
      return byIndex.get(from + i) ?? empty;
    });
    return { stepMicros: step, rows };
  }
}

function merged(buckets: readonly Bucket[], from: number, to: number): Bucket[] {
  const out: Bucket[] = [];
  for (const bucket of buckets) {
    const index = Math.floor((bucket.index * from) / to);
    const last = out.at(-1);
    if (last?.index === index) {
      last.requests += bucket.requests;
      bucket.refused.forEach((refused, i) => {
        last.refused[i]! += refused;
      });
    } else {
      out.push({ index, requests: bucket.requests, refused: [...bucket.refused] });
    }
  }
  return out;
}

/** What a row of this length is called. */
export function labelOf(index: number, stepMicros: number): string {
  const text = new Date((index * stepMicros) / 1_000).toISOString();
  if (stepMicros >= DAY) {
    return text.slice(0, 10);
  }
  return stepMicros >= 60 * SECOND
    ? text.slice(0, 16).replace('T', ' ')
    : text.slice(0, 19).replace('T', ' ');
}
