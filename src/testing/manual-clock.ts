import { readDuration } from '../duration.ts';
import type { Duration } from '../duration.ts';
import type { Clock } from '../clock.ts';

const CENTURY_MS = 100 * 366 * 86_400_000;

/**
 * A clock that stands still until it is told to go on, for tests of code that is limited.
 *
 * @example
 * const clock = new ManualClock();
 * const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 1, period: '10s' });
 * await limiter.allow('a');            // passes
 * clock.advance('10s');
 * await limiter.allow('a');            // passes again
 */
export class ManualClock implements Clock {
  #micros: number;

  /** `startMs`: Unix milliseconds at which it stands first. Default: 2026-01-01T00:00:00Z. */
  constructor(startMs: number = Date.UTC(2026, 0, 1)) {
    this.#micros = startMs * 1_000;
  }

  nowMicros(): number {
    return this.#micros;
  }

  /** Goes on by a duration, or by a number of seconds in whole milliseconds. */
  advance(duration: Duration | number): void {
    this.#micros += readDuration('duration', duration, 0, CENTURY_MS) * 1_000;
  }
}
