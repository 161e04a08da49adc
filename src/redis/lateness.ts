import { clearTimeout, monotonicMs, setTimeout } from '../timers.ts';

const TICK_MS = 10;

/**
 * Measures how much time this process lost while it ran: because the machine had no processor for it, or because its
 * event loop was busy. A process that starts slowly must not take its own slowness for an outage.
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
    this.#lostMs += Math.max(0, now - this.#tickAt - TICK_MS);
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
