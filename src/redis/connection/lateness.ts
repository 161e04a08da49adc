import { clearTimeout, monotonicMs, setTimeout } from '../../base/timers.ts';

const TICK_MS = 20;
/** Timers may be this late even on an idle machine. */
const USUAL_MS = 5;
/** Bound on the time credited, so that waiting ends even on a very slow machine. */
const MAX_LOST_MS = 30_000;

/**
 * Measures the time that this process lost because the machine had no processor for it or its event loop was busy. A
 * process that starts slowly must not take its own slowness for an outage.
 */
export class Lateness {
  #lostMs = 0;
  #tickAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Milliseconds lost between `start` and `stop` so far. */
  get lostMs(): number {
    if (this.#timer !== undefined) {
      this.#note();
    }
    return this.#lostMs;
  }

  start(): void {
    if (this.#timer === undefined) {
      this.#tickAt = monotonicMs();
      this.#arm();
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #note(): void {
    const now = monotonicMs();
    const lostMs = Math.max(0, now - this.#tickAt - TICK_MS - USUAL_MS);
    this.#lostMs = Math.min(MAX_LOST_MS, this.#lostMs + lostMs);
    this.#tickAt = now;
  }

  /** Keeps no process alive. */
  #arm(): void {
    this.#timer = setTimeout(() => {
      this.#note();
      this.#arm();
    }, TICK_MS);
    this.#timer.unref();
  }
}
