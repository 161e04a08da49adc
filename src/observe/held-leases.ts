import type { Clock } from '../base/clock.ts';
import type { LimitCounts } from './limit-counts.ts';

/**
 * Each new lease checks this many of the oldest leases for expiry, so that expired ones are removed faster than new
 * ones come.
 */
const SWEPT_PER_LEASE = 2;

/** One counted lease. It does not reference its holder, so counting keeps no limiter alive. */
export class HeldLease {
  /** Microseconds on the store's clock; Infinity if the lease does not expire. */
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

  /** Stops counting the lease; further calls do nothing. */
  end(): void {
    if (this.#all.delete(this)) {
      for (const counts of this.#limits) {
        counts.leasesHeld -= 1;
      }
    }
  }
}

/**
 * The leases of one limiter that this process holds. A lease that expires sends no event, so expired ones are swept
 * when a lease is added and before the count is read.
 */
export class HeldLeases {
  readonly #clock: Clock;
  readonly #held = new Set<HeldLease>();
  #looking: Iterator<HeldLease> = this.#held.values();

  /** `clock` is the clock by which leases expire. */
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
