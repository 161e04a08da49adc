import type { Entry } from '../algorithms/shape.ts';
import type { Clock } from '../clock.ts';
import type { RateLimiterError } from '../errors.ts';
import type { StoreSubmission } from '../events.ts';

/**
 * One call on its way through a store. The store calls exactly one of `settle` and `fail`, once; after `fail` it may
 * still call `late`, once.
 */
export interface Call extends Entry {
  /** How long a store may take, and how many calls it may have in flight; a store that needs neither ignores them. */
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  /** A store's own note, for those who trace the call. */
  submission?: StoreSubmission | undefined;
  /**
   * `reply[0]` is the store's clock at the decision, in whole microseconds since the Unix epoch; the integers of
   * this call's shape begin at `reply[at]`.
   */
  settle(reply: readonly number[], at: number): void;
  fail(error: RateLimiterError): void;
  /** As `settle`, for an answer that came after the call had failed: the call took effect all the same. */
  late?: ((reply: readonly number[], at: number) => void) | undefined;
}

/** Where state lives: Redis, or this process's memory. */
export interface Store {
  /** The clock that decides, where this process can read it: calendar windows are planned by it. */
  readonly clock?: Clock;
  /** What callers of this store wait on. It goes on as the clock that decides does. */
  readonly time: Clock;
  /** Whether other processes use the same states. */
  readonly isShared: boolean;
  /** Begins what takes long and connects nowhere; called once, when a limiter is made. */
  prepare?(): void;
  submit(call: Call): void;
  /** One process warning for each code about where the state lives; not there where no server is asked. */
  warn?(code: string, text: string): void;
  /** Gives back what was opened for this store. Calls that are still under way settle first. */
  close(): Promise<void>;
}
