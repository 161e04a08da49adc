import { Heap } from '../base/heap.ts';
import { readDuration } from '../base/duration.ts';
import type { Duration } from '../base/duration.ts';
import type { Clock } from '../base/clock.ts';
import { invalidOption } from '../base/errors.ts';

/** Below this length the heap is not worth compacting. */
const SMALL = 64;
const CENTURY_MS = 100 * 366 * 86_400_000;
/** The last instant that a `Date` can hold. */
const LAST_MS = 8_640_000_000_000_000;

interface Sleeper {
  readonly atMicros: number;
  /** Sleepers of the same instant wake in the order in which they came. */
  readonly order: number;
  /** Undefined once cancelled. */
  wake: (() => void) | undefined;
}

/**
 * A clock that stands still until it is advanced, for tests of limited code. Wakes all due sleepers, in the order of
 * time, before `advance` or `set` returns. Sleepers are calls that `wait`, heartbeats and losses of leases, `maxHold`
 * of requests, and calls of `pacedFetch`, if this is its `clock`. A sleeper wakes when the clock shows its instant; if
 * the clock was set back meanwhile, it sleeps for as much longer.
 *
 * @example
 * const clock = new ManualClock();
 * const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 1, period: '10s' });
 * await limiter.allow('a');            // passes
 * const second = limiter.wait('a');
 * clock.advance('10s');
 * await second;                        // passes, too
 */
export class ManualClock implements Clock {
  #micros: number;
  /** The next sleeper is first. */
  readonly #sleepers = new Heap<Sleeper>(isBefore);
  /** Sleepers in the heap that were cancelled. */
  #cancelled = 0;
  #order = 0;

  /** `startMs` is the initial time in Unix milliseconds. Default: 2026-01-01T00:00:00Z. */
  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#micros = startMs * 1_000;
  }

  nowMicros(): number {
    return this.#micros;
  }

  /** Unix milliseconds. */
  now(): number {
    return Math.floor(this.#micros / 1_000);
  }

  /** Advances by a duration, such as `'250ms'`, or by a number of seconds in whole milliseconds. */
  advance(duration: Duration | number): void {
    this.#goOnTo(this.#micros + readDuration('duration', duration, 0, CENTURY_MS) * 1_000);
  }

  /**
   * Sets the time, forward or back: Unix milliseconds, or a `Date`. Going back wakes no sleeper.
   *
   * @throws `ERR_INVALID_OPTION` for anything else.
   * @example
   * clock.set(new Date('2026-03-29T01:00:00Z'));       // Europe/Berlin changes to summer time
   * clock.set(clock.now() - 60_000);                   // a minute back
   */
  set(time: number | Date): void {
    const ms = Number(time);
    if (!Number.isInteger(ms) || ms < 0 || ms > LAST_MS) {
      throw invalidOption(
        'time',
        'a Date or whole Unix milliseconds, not before 1970',
        time,
        'Pass Date.UTC(2026, 0, 31).',
      );
    }
    if (ms * 1_000 > this.#micros) {
      this.#goOnTo(ms * 1_000);
    } else {
      this.#micros = ms * 1_000;
    }
  }

  /** Resolves when the clock has advanced by `ms`. Rejects with the reason of `signal` if it is aborted before. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const cancel = this.wakeAfter(ms, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = (): void => {
        cancel();
        reject(signal!.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Calls `wake` when the clock has advanced by `ms`. Returns a function that cancels this. */
  wakeAfter(ms: number, wake: () => void): () => void {
    const atMicros = this.#micros + Math.ceil(ms * 1_000);
    const sleeper: Sleeper = { atMicros, order: this.#order++, wake };
    this.#sleepers.add(sleeper);
    return () => {
      if (sleeper.wake !== undefined) {
        sleeper.wake = undefined;
        this.#cancelled += 1;
        this.#dropCancelled();
      }
    };
  }

  /** Keeps the heap as small as twice its live sleepers. */
  #dropCancelled(): void {
    if (this.#sleepers.size > SMALL && this.#cancelled > this.#sleepers.size / 2) {
      this.#sleepers.keep(({ wake }) => wake !== undefined);
      this.#cancelled = 0;
    }
  }

  #goOnTo(micros: number): void {
    for (
      let next = this.#sleepers.first;
      next !== undefined && next.atMicros <= micros;
      next = this.#sleepers.first
    ) {
      this.#sleepers.removeFirst();
      const { wake } = next;
      if (wake === undefined) {
        this.#cancelled -= 1;
      } else {
        next.wake = undefined; // so that cancelling it later counts nothing
        this.#micros = Math.max(this.#micros, next.atMicros);
        wake();
      }
    }
    this.#micros = Math.max(this.#micros, micros);
  }
}

function isBefore(a: Sleeper, b: Sleeper): boolean {
  return a.atMicros === b.atMicros ? a.order < b.order : a.atMicros < b.atMicros;
}
