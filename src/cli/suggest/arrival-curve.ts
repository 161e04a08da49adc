import { Callers } from '../logs/callers.ts';
import type { LogEntry } from '../logs/entry.ts';

/** Callers of a page: columns grow by pages, so that growing copies nothing. */
const PAGE_BITS = 12;
const PAGE = 1 << PAGE_BITS;
/** The first number that a double does not tell from its successor. */
const FIRST_INEXACT = 2 ** 53;
/** A burst that no limit takes. */
const NO_BURST = 2 ** 32 - 1;

/** A rate, with its arithmetic: `p / n` microseconds for a unit, in lowest terms. */
interface Spacing {
  readonly p: number;
  readonly n: number;
}

/**
 * Finds for each caller and each of some rates the least burst with which a token bucket would never have refused it:
 * the caller's arrival curve at that rate. One pass. The backlog of a bucket that refuses nothing grows with each
 * request and drains at the rate; its greatest height is that burst.
 *
 * Keeps 12 bytes per caller and rate. Beyond `mostCallers` it goes on with every second caller, chosen by a hash of its
 * name, then with every fourth, …: a caller that is kept is kept with its whole history.
 */
export class ArrivalCurve {
  requests = 0;
  firstAt = 0;
  lastAt = 0;
  /** One of so many callers is looked at. */
  oneIn = 1;
  readonly rates: readonly number[];
  readonly #spacings: readonly Spacing[];
  readonly #mostCallers: number;
  #callers: Callers;
  #backlogs: Float64Array[] = [];
  #bursts: Uint32Array[] = [];
  #lasts: Float64Array[] = [];

  constructor(rates: readonly number[], periodMs: number, mostCallers: number) {
    this.rates = rates;
    this.#spacings = rates.map((rate) => {
      const divisor = greatestDivisor(periodMs * 1_000, rate);
      return { p: (periodMs * 1_000) / divisor, n: rate / divisor };
    });
    this.#mostCallers = mostCallers;
    this.#callers = new Callers(mostCallers);
  }

  /** The number of callers that are looked at. */
  get callers(): number {
    return this.#callers.size;
  }

  /** Takes requests in the order of their times. */
  take(batch: readonly LogEntry[]): void {
    for (const { at, caller, cost } of batch) {
      this.firstAt = this.requests === 0 ? at : this.firstAt;
      this.lastAt = at;
      this.requests += 1;
      if (this.oneIn === 1 || isChosen(caller, this.oneIn)) {
        this.#count(this.#numberOf(caller), at, cost);
      }
    }
  }

  /** For each rate the bursts that the callers need, in ascending order. */
  bursts(): readonly Uint32Array[] {
    const width = this.rates.length;
    return this.rates.map((_, i) =>
      Uint32Array.from({ length: this.callers }, (_each, number) => {
        return this.#bursts[number >> PAGE_BITS]![(number & (PAGE - 1)) * width + i]!;
      }).sort(),
    );
  }

  /** The caller's number; -1 if it has just been left out. */
  #numberOf(caller: string): number {
    let number = this.#callers.number(caller);
    while (number < 0) {
      this.#halve();
      if (!isChosen(caller, this.oneIn)) {
        return -1;
      }
      number = this.#callers.number(caller);
    }
    return number;
  }

  #count(number: number, at: number, cost: number): void {
    if (number < 0 || cost === 0) {
      return;
    }
    const width = this.rates.length;
    const page = number >> PAGE_BITS;
    const row = number & (PAGE - 1);
    const lasts = (this.#lasts[page] ??= new Float64Array(PAGE));
    const backlogs = (this.#backlogs[page] ??= new Float64Array(PAGE * width));
    const bursts = (this.#bursts[page] ??= new Uint32Array(PAGE * width));
    const elapsed = at - lasts[row]!;
    lasts[row] = at;
    for (let i = 0; i < width; i++) {
      const { p, n } = this.#spacings[i]!;
      const cell = row * width + i;
      // Where `elapsed * n` is not exact it is far beyond any backlog.
      const backlog = Math.max(0, backlogs[cell]! - elapsed * n) + cost * p;
      backlogs[cell] = Math.min(backlog, FIRST_INEXACT);
      const burst = backlog < FIRST_INEXACT ? Math.ceil(backlog / p) : NO_BURST;
      if (burst > bursts[cell]!) {
        bursts[cell] = Math.min(burst, NO_BURST);
      }
    }
  }

  /** Leaves out every second caller. */
  #halve(): void {
    const [callers, backlogs, bursts, lasts] = [
      this.#callers,
      this.#backlogs,
      this.#bursts,
      this.#lasts,
    ];
    const width = this.rates.length;
    this.oneIn *= 2;
    this.#callers = new Callers(this.#mostCallers);
    [this.#backlogs, this.#bursts, this.#lasts] = [[], [], []];
    for (let from = 0; from < callers.size; from++) {
      const caller = callers.name(from);
      if (!isChosen(caller, this.oneIn)) {
        continue;
      }
      const to = this.#callers.number(caller);
      const [page, row] = [from >> PAGE_BITS, from & (PAGE - 1)];
      const [toPage, toRow] = [to >> PAGE_BITS, to & (PAGE - 1)];
      (this.#lasts[toPage] ??= new Float64Array(PAGE))[toRow] = lasts[page]?.[row] ?? 0;
      const [begin, end] = [row * width, (row + 1) * width];
      (this.#backlogs[toPage] ??= new Float64Array(PAGE * width)).set(
        backlogs[page]?.subarray(begin, end) ?? [],
        toRow * width,
      );
      (this.#bursts[toPage] ??= new Uint32Array(PAGE * width)).set(
        bursts[page]?.subarray(begin, end) ?? [],
        toRow * width,
      );
    }
  }
}

/** The least burst that at most `disturbed` callers would have noticed; `bursts` are what they need, ascending. */
export function burstFor(bursts: Uint32Array, disturbed: number): number {
  return Math.max(1, bursts[bursts.length - 1 - disturbed] ?? 1);
}

/** How many callers need a greater burst. */
export function disturbedBy(bursts: Uint32Array, burst: number): number {
  const first = bursts.findIndex((each) => each > burst);
  return first < 0 ? 0 : bursts.length - first;
}

/** Whether a caller is one of each `oneIn`, a power of two. A caller chosen of 4 is also chosen of 2. */
function isChosen(caller: string, oneIn: number): boolean {
  // FNV-1a, then the finish of MurmurHash3, so that the lowest bits depend on all characters.
  let hash = 0x811c9dc5;
  for (let i = 0; i < caller.length; i++) {
    hash = Math.imul(hash ^ caller.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) & (oneIn - 1)) === 0;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
