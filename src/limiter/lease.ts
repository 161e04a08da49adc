import { wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import type { Decision } from '../base/decision.ts';
import { RateLimiterError } from '../base/errors.ts';
import type { HeldLease } from '../observe/held-leases.ts';

/**
 * The methods of an answer to `acquire`. If the call was refused, or decided without the store, no place was taken
 * and the methods do nothing: `release` and `renew` resolve to false.
 */
export interface LeaseHandle {
  /** The lease's name in the store; undefined if no place was taken. */
  readonly leaseId: string | undefined;
  /**
   * Aborted with `ERR_LEASE_LOST` once the lease is lost before it was released: a renewal found it gone, or its
   * `ttl` has passed since the last successful one was sent. Time is counted on this process's clock from *sending*,
   * so a holder never believes in a lease for longer than Redis does. Reading this property checks the clock: after a
   * blocked event loop it is aborted before any timer fires.
   */
  readonly signal: AbortSignal;
  /**
   * Extends the lease to its `ttl` from now if it is still held, and resolves to whether it is.
   *
   * @throws (rejects) a `StoreError` if the store gives no answer: the state is then unknown, and `renew` may be
   * called again. `ERR_LIMITER_CLOSED` after `close()`.
   * @example
   * if (!(await lease.renew())) throw new Error('somebody else may hold the place by now');
   */
  renew(): Promise<boolean>;
  /**
   * Frees the place at once, and resolves to whether it was still held. A second call returns the same and frees
   * nothing more. Charges of rate limits beside it stay.
   *
   * @throws (rejects) like `renew`; it may then be called again. If it never succeeds, the lease expires.
   * @example
   * await lease.release();
   */
  release(): Promise<boolean>;
  /** Calls `release`, for `await using`. Never rejects: after a failure the lease expires, and `onError` was called. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The answer to `acquire`: a decision, and the handle of the place that was taken.
 *
 * @example
 * await using lease = await limiter.acquire('user:12345', { heartbeat: true });
 * if (lease.allowed) await work({ signal: lease.signal });
 */
export type Lease<Unit extends string = string> = Decision<Unit> & LeaseHandle;

/** Describes a place that has been taken. */
export interface LeaseTerms {
  readonly id: string;
  /** How long the lease lasts, in milliseconds; Infinity if only shadow limits lend the place. */
  readonly ttlMs: number;
  /** The interval of automatic renewals, in milliseconds; undefined for none. */
  readonly heartbeatMs: number | undefined;
  /** The store's clock. */
  readonly clock: Clock;
  /** When the call was made, in microseconds on the store's clock. */
  readonly sentAt: number;
  /** The lease in the limiter's counts; undefined if only shadow limits lend the place. */
  readonly counted: HeldLease | undefined;
  /** Sends the verb, and resolves to whether the lease was held. Calls `onReply` with it in the turn of the reply. */
  send(verb: 'renew' | 'release', onReply?: (held: boolean) => void): Promise<boolean>;
}

/** A taken place, as its holder sees it. */
class Holding {
  readonly #terms: LeaseTerms;
  /** Instant from which the holder counts the lease as lost, in microseconds on the store's clock. */
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

  /** Sets a timer only once the signal has been read. */
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
    const held = await this.#terms.send('renew', (isHeld) => {
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
    // Two renewals may be in flight at once.
    this.#until = Math.max(this.#until, sentAt + ttlMs * 1_000);
    if (counted !== undefined) {
      counted.until = this.#until;
    }
  }

  release(): Promise<boolean> {
    this.#end();
    this.#releasing ??= this.#terms.send('release').catch((error: unknown) => {
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
   * A failed renewal is tried again at the next beat, as long as the holder believes in the lease. The next beat does
   * not wait for the reply: when a test moves its clock by several beats at once, all of them are sent.
   */
  readonly #beat = (): void => {
    this.renew().catch(() => {
      // `onError` was called.
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
 * Returns the decision itself with the handle's methods added, not enumerable, so that listing, copying or comparing
 * it does not show them. Without terms no place was taken.
 */
export function makeLease(decision: Decision, terms: LeaseTerms | undefined): Lease {
  const handle = terms === undefined ? HELD_NOTHING : makeHandle(terms);
  for (const name of Reflect.ownKeys(handle)) {
    const property = Object.getOwnPropertyDescriptor(handle, name)!;
    Object.defineProperty(decision, name, { ...property, enumerable: false });
  }
  return decision as Lease;
}
