import type { Clock } from '../base/clock.ts';

/**
 * The most that two clocks of computers part in the same time: they are slewed by up to 8.3 %. The monotonic clock of a
 * process and the clock of a server may each be.
 */
export const CLOCK_DRIFT = 0.1;
/** A reply's time may lie so far outside of what the last one lets expect: a server's clock is slewed, not stepped. */
const STEP_US = 5_000;
/** So far the wall clock and the monotonic clock of a process may part. Beyond, the process was stopped or a clock was set. */
const PARTED_MS = 100;

/**
 * What one reply tells of its server's clock. `now` is that clock's time in the reply. `sent` and `heard` are readings of
 * the process's own monotonic clock before the call was sent and after the reply had come. All are whole microseconds.
 */
export class ClockAnchor {
  readonly now: number;
  readonly sent: number;
  readonly heard: number;

  constructor(now: number, sent: number, heard: number) {
    this.now = now;
    this.sent = sent;
    this.heard = heard;
  }

  /** An instant on the server's clock, rounded up, that it has not passed at `own` of the process's clock: `uHi`. */
  latest(own: number): number {
    return this.now + Math.ceil((own - this.sent + 1) * (1 + CLOCK_DRIFT));
  }

  /** An instant on the server's clock, rounded down, that it has reached at `own` of the process's clock: `uLo`. */
  earliest(own: number): number {
    return this.now + Math.max(0, Math.floor((own - this.heard - 1) * (1 - CLOCK_DRIFT)));
  }

  /** Whether a later anchor can be of the same clock, which has not stepped in between. */
  agreesWith(later: ClockAnchor): boolean {
    return (
      later.now >= this.earliest(later.sent) - STEP_US &&
      later.now <= this.latest(later.heard) + STEP_US
    );
  }
}

/** The last anchor of each server behind one connection. Tells when nothing holds any more that was derived from anchors. */
export class ClockAnchors {
  /** The anchor of the reply that is being read; undefined if nothing may be derived from it. */
  current: ClockAnchor | undefined;
  readonly #last = new Map<string, ClockAnchor>();
  readonly #own: Clock;
  readonly #lead: (own: number) => number;
  readonly #listeners: (() => void)[] = [];
  #knownLead: number;
  #checkedAt: number;
  #droppedAt = Number.NEGATIVE_INFINITY;

  /** `own`: the process's clock. `lead`: how far its wall clock leads it when it shows `own`, in milliseconds. */
  constructor(own: Clock, lead: (own: number) => number) {
    this.#own = own;
    this.#lead = lead;
    this.#checkedAt = own.nowMicros();
    this.#knownLead = lead(this.#checkedAt);
  }

  /** Adds a listener that forgets all that was derived from anchors. */
  onDrop(forget: () => void): void {
    this.#listeners.push(forget);
  }

  /** Notes the time in a node's reply to a call that was sent at `sent` of the process's clock. */
  heard(node: string, now: number, sent: number): void {
    const anchor = new ClockAnchor(now, sent, this.check());
    const last = this.#last.get(node);
    // Replies to calls that overlap may be read in another order than they were made in.
    if (last !== undefined && !last.agreesWith(anchor) && !anchor.agreesWith(last)) {
      this.#drop(anchor.heard);
    }
    // A call from before a drop may have been answered at any time since.
    const isUsable = sent > this.#droppedAt;
    this.current = isUsable ? anchor : undefined;
    if (isUsable) {
      this.#last.set(node, anchor);
    }
  }

  /**
   * Drops everything if this process was stopped, or one of its clocks was set, since the last call. Returns the time of
   * the process's clock.
   */
  check(): number {
    const own = this.#own.nowMicros();
    if (own < this.#checkedAt || Math.abs(this.#lead(own) - this.#knownLead) > PARTED_MS) {
      this.#drop(own);
    }
    this.#checkedAt = own;
    return own;
  }

  #drop(own: number): void {
    this.#knownLead = this.#lead(own);
    this.#droppedAt = own;
    this.#last.clear();
    this.current = undefined;
    for (const forget of this.#listeners) {
      forget();
    }
  }
}
