import { clearTimeout, monotonicMs, setTimeout } from '../../base/timers.ts';
const BEAT_MS = 500;
/** A beat this much late shows that the process stood still: frozen, suspended or blocked. */
const PAUSE_MS = 1_000;
/** After this long without traffic, a device on the way may have dropped the connection. */
const IDLE_MS = 30_000;

/**
 * Notices that this process stood still or that a connection was idle for long, so that the known state of the connection
 * is stale. Beats only while there is traffic, and keeps no process alive.
 */
export class Pulse {
  #beatAt = monotonicMs();
  #trafficAt = 0;
  #doubtedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** Notes traffic. Returns an instant: a server that has not answered since must be asked first. */
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
