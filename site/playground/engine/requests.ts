import { requestsOf } from '../../../src/cli/simulate/requests.ts';
import { readTraffic } from '../../../src/cli/simulate/traffic.ts';

/** Requests in the order of their times. */
export interface Requests {
  readonly count: number;
  /** Whole microseconds since the Unix epoch. */
  readonly at: Float64Array;
  /** By request: the number of its caller. */
  readonly caller: Uint32Array;
  /** By the number of a caller. */
  readonly names: readonly string[];
  /** By the number of a caller: its requests. */
  readonly perCaller: Uint32Array;
  /** What a chart shows: from here, inclusive, to there, exclusive. */
  readonly fromMicros: number;
  readonly toMicros: number;
  /** Whether there were more requests, which were left out. */
  readonly isCut: boolean;
}

/** Made-up traffic, as `simulate` of the command line makes it. */
export interface MadeTraffic {
  readonly traffics: readonly string[];
  readonly lengthMs: number;
  readonly seed: number;
}

/** Midnight, where all windows of a day or less begin. */
const START_MICROS = Date.UTC(2026, 0, 1) * 1_000;
/** So many requests take about a second for each policy. */
const MOST_MADE = 500_000;

export function makeRequests({ traffics, lengthMs, seed }: MadeTraffic): Requests {
  const taken = new RequestList(MOST_MADE);
  const scenario = { traffics: traffics.map(readTraffic), lengthMs, processes: 1, seed };
  for (const { atMs, caller } of requestsOf(scenario)) {
    if (!taken.add(START_MICROS + atMs * 1_000, caller)) {
      break;
    }
  }
  return taken.requests(START_MICROS, START_MICROS + lengthMs * 1_000);
}

/** Collects requests in columns of numbers: a request takes 12 bytes. */
export class RequestList {
  #at = new Float64Array(1 << 12);
  #caller = new Uint32Array(1 << 12);
  #count = 0;
  #isCut = false;
  readonly #most: number;
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Returns false if there is no room for a further one. */
  add(atMicros: number, caller: string): boolean {
    if (this.#count >= this.#most) {
      this.#isCut = true;
      return false;
    }
    if (this.#count === this.#at.length) {
      const [at, callers] = [this.#at, this.#caller];
      this.#at = new Float64Array(at.length * 2);
      this.#at.set(at);
      this.#caller = new Uint32Array(at.length * 2);
      this.#caller.set(callers);
    }
    let number = this.#numbers.get(caller);
    if (number === undefined) {
      number = this.#names.length;
      this.#numbers.set(caller, number);
      this.#names.push(caller);
    }
    this.#at[this.#count] = atMicros;
    this.#caller[this.#count] = number;
    this.#count += 1;
    return true;
  }

  /** The requests taken so far. By default the chart shows them from the first to the last. */
  requests(fromMicros = this.#at[0] ?? 0, toMicros?: number): Requests {
    const count = this.#count;
    const perCaller = new Uint32Array(this.#names.length);
    for (let i = 0; i < count; i++) {
      perCaller[this.#caller[i]!]! += 1;
    }
    return {
      count,
      at: this.#at.subarray(0, count),
      caller: this.#caller.subarray(0, count),
      names: this.#names,
      perCaller,
      fromMicros,
      toMicros: toMicros ?? (count === 0 ? fromMicros + 1 : this.#at[count - 1]! + 1),
      isCut: this.#isCut,
    };
  }
}
