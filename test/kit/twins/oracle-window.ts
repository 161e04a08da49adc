import { isWhole, LIMIT_OF_NUMBERS, most } from './oracle-numbers.ts';
import type { Counter, OracleVerdict } from './oracle-numbers.ts';

/** A fixed window of one length: at most `rate` units in each. Windows begin at multiples of their length. */

/** One window's numbers. All limits that share a state have one length. */
export interface OracleWindow {
  readonly kind: 'window';
  readonly rate: bigint;
  readonly periodUs: bigint;
}

/** The window that was charged last; none if `length` is 0. */
export interface WindowState {
  length: bigint;
  stop: bigint;
  used: bigint;
}

const SECOND = 1_000_000n;

export function loadWindow(text: string | undefined): WindowState | undefined {
  if (text === undefined) {
    return { length: 0n, stop: 0n, used: 0n };
  }
  const fields = text.split(':');
  if (fields.length !== 3 || !fields.every(isWhole)) {
    return undefined;
  }
  const [stop, length, used] = fields.map(BigInt) as [bigint, bigint, bigint];
  const isState = length > 0n && length <= stop && used < LIMIT_OF_NUMBERS;
  return isState ? { length, stop, used } : undefined;
}

export function saveWindow({ length, stop, used }: WindowState): { value: string; rests: bigint } {
  return { value: `${stop}:${length}:${used}`, rests: stop };
}

/** A window while one call is decided. */
export class WindowCounter implements Counter {
  readonly #state: WindowState;
  readonly #limit: OracleWindow;
  readonly #now: bigint;
  readonly #change: () => void;
  #stop: bigint;
  #used: bigint;

  constructor(state: WindowState, limit: OracleWindow, now: bigint, change: () => void) {
    this.#state = state;
    this.#limit = limit;
    this.#now = now;
    this.#change = change;
    const { periodUs } = limit;
    const stop = now - (now % periodUs) + periodUs;
    if (state.length > 0n && state.stop - state.length > now + SECOND) {
      // The clock stepped back: what was counted counts from now on.
      state.stop = stop;
      change();
    }
    const counts = state.length > 0n && state.stop >= stop;
    this.#stop = counts ? state.stop : stop;
    this.#used = counts ? state.used : 0n;
  }

  passes(cost: bigint): boolean {
    return this.#used + cost <= this.#limit.rate;
  }

  charge(cost: bigint): bigint {
    this.#used += cost;
    this.#store();
    return this.#stop;
  }

  refuse(): void {
    // A refusal is not kept.
  }

  restore(stop: bigint, cost: bigint): void {
    if (stop === this.#stop && this.#used > 0n) {
      this.#used = most(0n, this.#used - cost);
      this.#store();
    }
  }

  #store(): void {
    Object.assign(this.#state, {
      length: this.#limit.periodUs,
      stop: this.#stop,
      used: this.#used,
    });
    this.#change();
  }

  verdict(_cost: bigint, refused: boolean): OracleVerdict {
    const left = this.#stop - this.#now;
    return {
      refused,
      remaining: most(0n, this.#limit.rate - this.#used),
      over: most(0n, this.#used - this.#limit.rate),
      resetUs: this.#used > 0n ? left : 0n,
      retryUs: refused ? left : 0n,
    };
  }
}
