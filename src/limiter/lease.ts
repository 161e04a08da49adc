import { wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import type { Decision } from '../base/decision.ts';
import { RateLimiterError } from '../base/errors.ts';
import type { HeldLease } from '../observe/held-leases.ts';

/**
 * What the answer to `acquire` can do beyond being a decision. Where no place was taken, because the call was
 * refused or decided without the store, its methods do nothing: `release` and `renew` answer false.
 */
export interface LeaseHandle {
  /** Names the lease in the store; undefined where no place was taken. */
  readonly leaseId: string | undefined;
  /**
   * Aborted, with an `ERR_LEASE_LOST`, once the lease is known to be lost before it was released: a renewal found
   * it gone, or its `ttl` has passed since the last one that succeeded was sent. By this process's own clock and
   * counted from *sending*, so that a holder never believes in a lease for longer than Redis does. To read this property
   * looks at the clock: after a blocked event loop it is aborted before any timer could tell.
   */
  readonly signal: AbortSignal;
  /**
   * Makes the lease last for its `ttl` from now, if it is still held, and says whether it is.
   *
   * @throws (rejects) a `StoreError` when the store gives no answer: then it is not known, and may be tried again;
   * `ERR_LIMITER_CLOSED` after `close()`.
   * @example
   * if (!(await lease.renew())) throw new Error('somebody else may hold the place by now');
   */
  renew(): Promise<boolean>;
  /**
   * Frees the place at once, and says whether it was still held. Again, it answers the same and frees nothing
   * more. What rate limits beside it have charged stays charged.
   *
   * @throws (rejects) as `renew` does; it may then be called again. Without success the lease ends by itself.
   * @example
   * await lease.release();
   */
  release(): Promise<boolean>;
  /** `release`, for `await using`; never rejects: the lease then ends by itself, and `onError` was told. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The answer to `acquire`: a decision, and what can be done with the place that it gave.
 *
 * @example
 * await using lease = await limiter.acquire('user:12345', { heartbeat: true });
 * if (lease.allowed) await work({ signal: lease.signal });
 */
export type Lease = Decision & LeaseHandle;

/** What is known of a place when it has been taken. */
export interface LeaseTerms {
  readonly id: string;
  /** Milliseconds; Infinity where no limit that is enforced lends the place. */
  readonly ttlMs: number;
  /** How often it is renewed by itself, in milliseconds; undefined for never. */
  readonly heartbeatMs: number | undefined;
  /** The store's time. */
  readonly clock: Clock;
  /** When the call was made: microseconds on that clock. */
  readonly sentAt: number;
  /** The place as it is counted; not where no limit that is enforced lends it. */
  readonly counted: HeldLease | undefined;
  /** Asks the store; says whether the lease was held, and tells `heard` so in the turn in which the store answers. */
  ask(verb: 'renew' | 'release', heard?: (held: boolean) => void): Promise<boolean>;
}

/** A place as its holder sees it. */
class Holding {
  readonly #terms: LeaseTerms;
  /** Microseconds on the store's clock; from here on the holder does not believe in the lease. */
  #until: number;
  #ended = false;
  #lost: RateLimiterError | undefined;
  #controller: AbortController | undefined;
  #releasing: Promise<boolean> | undefined;
  #stopHeartbeat: (() => void) | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(terms: LeaseTerms) {
    this.#terms = terms;
    this.#until = terms.sentAt + terms.ttlMs * 1_000;
    this.#beatLater();
  }

  /** Costs a timer only where somebody listens. */
  get signal(): AbortSignal {
    this.#hasEnded();
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#lost === undefined) {
        this.#watch();
      } else {
        this.#controller.abort(this.#lost);
      }
    }
    return this.#controller.signal;
  }

  async renew(): Promise<boolean> {
    if (this.#hasEnded()) {
      return false;
    }
    const sentAt = this.#terms.clock.nowMicros();
    const held = await this.#terms.ask('renew', (isHeld) => {
      if (isHeld) {
        this.#extend(sentAt);
      }
    });
    if (!held) {
      this.#lose('the store no longer holds it');
    }
    return !this.#ended;
  }

  #extend(sentAt: number): void {
    const { ttlMs, counted } = this.#terms;
    // Two renewals may be under way at a time.
    this.#until = Math.max(this.#until, sentAt + ttlMs * 1_000);
    if (counted !== undefined) {
      counted.until = this.#until;
    }
  }

  release(): Promise<boolean> {
    this.#end();
    this.#releasing ??= this.#terms.ask('release').catch((error: unknown) => {
      this.#releasing = undefined;
      throw error;
    });
    return this.#releasing;
  }

  #hasEnded(): boolean {
    if (!this.#ended && this.#terms.clock.nowMicros() >= this.#until) {
      this.#lose('it was not renewed in time');
    }
    return this.#ended;
  }

  #lose(why: string): void {
    if (!this.#ended) {
      this.#end();
      this.#lost = new RateLimiterError(
        'ERR_LEASE_LOST',
        `The lease was lost before it was released: ${why}. Stop the work, renew more often, or choose a longer \`ttl\`.`,
      );
      this.#controller?.abort(this.#lost);
    }
  }

  #end(): void {
    this.#ended = true;
    this.#terms.counted?.end();
    this.#stopHeartbeat?.();
    this.#stopWatching?.();
  }

  #beatLater(): void {
    const { clock, heartbeatMs } = this.#terms;
    if (heartbeatMs !== undefined && !this.#ended) {
      const at = clock.nowMicros() + Math.ceil(heartbeatMs * 1_000);
      this.#stopHeartbeat = wakeAt(clock, at, this.#beat, false);
    }
  }

  /**
   * A renewal that fails is tried again at the next beat, for as long as the holder believes in the lease. The next beat
   * does not wait for the answer: a clock that a test moves by several beats at once makes all of them.
   */
  readonly #beat = (): void => {
    this.renew().catch(() => {
      // `onError` was told.
    });
    this.#beatLater();
  };

  readonly #watch = (): void => {
    if (!this.#hasEnded()) {
      this.#stopWatching = wakeAt(this.#terms.clock, this.#until, this.#watch, false);
    }
  };
}

const HELD_NOTHING: LeaseHandle = {
  leaseId: undefined,
  get signal() {
    return new AbortController().signal;
  },
  renew: () => Promise.resolve(false),
  release: () => Promise.resolve(false),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

function makeHandle(terms: LeaseTerms): LeaseHandle {
  const holding = new Holding(terms);
  return {
    leaseId: terms.id,
    get signal() {
      return holding.signal;
    },
    renew: () => holding.renew(),
    release: () => holding.release(),
    [Symbol.asyncDispose]: () =>
      holding.release().then(
        () => undefined,
        () => undefined,
      ),
  };
}

/**
 * The decision itself with the handle's methods on it, which do not show where it is listed, copied or compared.
 * Without terms no place was taken.
 */
export function makeLease(decision: Decision, terms: LeaseTerms | undefined): Lease {
  const handle = terms === undefined ? HELD_NOTHING : makeHandle(terms);
  for (const name of Reflect.ownKeys(handle)) {
    const property = Object.getOwnPropertyDescriptor(handle, name)!;
    Object.defineProperty(decision, name, { ...property, enumerable: false });
  }
  return decision as Lease;
}
