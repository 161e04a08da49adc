import { clearTimeout, monotonicMs, setTimeout } from '../../base/timers.ts';
const BEAT_MS = 500;
/** A beat that is this much late says that the process stood still: frozen, suspended, or blocked. */
const PAUSE_MS = 1_000;
/** Without traffic for so long, a connection may have been dropped by what lies between. */
const IDLE_MS = 30_000;

/**
 * Notices that this process stood still, or that a connection was idle for long: what is known of the connection is
 * then out of date. Beats only while there is traffic, and keeps no process alive.
 */
export class Pulse {
  #beatAt = monotonicMs();
  #trafficAt = 0;
  #doubtedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** Notes traffic. A server that was last heard of before the instant that this returns is to be asked first. */
  traffic(now: number): number {
    this.#note(now);
    this.#trafficAt = now;
    if (this.#timer === undefined) {
      this.#arm();
    }
    return this.#doubtedAt;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #note(now: number): void {
    if (now - this.#beatAt > BEAT_MS + PAUSE_MS) {
      this.#doubtedAt = now;
    }
    this.#beatAt = now;
  }

  #arm(): void {
    this.#timer = setTimeout(this.#beat, BEAT_MS);
    this.#timer.unref();
  }

  readonly #beat = (): void => {
    const now = monotonicMs();
    this.#note(now);
    this.#timer = undefined;
    if (now - this.#trafficAt < IDLE_MS) {
      this.#arm();
    }
  };
}
