import type { Clock } from '../base/clock.ts';
import type { LimitCounts } from './limit-counts.ts';

/** How many of the leases counted longest ago each new one looks at: two for every one that comes. */
const SWEPT_PER_LEASE = 2;

/** One lease as it is counted. Nothing of its holder hangs on it, so that counting keeps no limiter alive. */
export class HeldLease {
  /** Microseconds on the store's clock; Infinity where it does not end by itself. */
  until: number;
  readonly #limits: readonly LimitCounts[];
  readonly #all: Set<HeldLease>;

  constructor(until: number, limits: readonly LimitCounts[], all: Set<HeldLease>) {
    this.until = until;
    this.#limits = limits;
    this.#all = all;
    all.add(this);
    for (const counts of limits) {
      counts.leasesHeld += 1;
    }
  }

  /** May be told again. */
  end(): void {
    if (this.#all.delete(this)) {
      for (const counts of this.#limits) {
        counts.leasesHeld -= 1;
      }
    }
  }
}

/**
 * The leases of one limiter that this process holds. One that is neither released nor renewed ends without anybody
 * being told, so such ones are looked for as new ones come, and before the count is read.
 */
export class HeldLeases {
  readonly #clock: Clock;
  readonly #held = new Set<HeldLease>();
  #looking: Iterator<HeldLease> = this.#held.values();

  /** `clock` is the one by which leases end. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(until: number, limits: readonly LimitCounts[]): HeldLease {
    const now = this.#clock.nowMicros();
    for (let i = 0; i < SWEPT_PER_LEASE; i++) {
      const next = this.#looking.next();
      if (next.done === true) {
        this.#looking = this.#held.values();
        break;
      }
      endIfOver(next.value, now);
    }
    return new HeldLease(until, limits, this.#held);
  }

  sweep(): void {
    if (this.#held.size === 0) {
      return;
    }
    const now = this.#clock.nowMicros();
    for (const lease of this.#held) {
      endIfOver(lease, now);
    }
  }
}

function endIfOver(lease: HeldLease, now: number): void {
  if (lease.until <= now) {
    lease.end();
  }
}
