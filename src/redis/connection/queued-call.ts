import type { RateLimiterError } from '../../base/errors.ts';
import type { StoreSubmission } from '../../observe/messages.ts';

/** The part of a call that a connection reads; the script reads the rest. */
export interface QueuedCall {
  /** Decides the slot; all keys of a call are in one. */
  readonly key: string;
  /** The deadline in milliseconds, from when the call's batch is made. */
  readonly timeoutMs: number;
  /** Whether it travels in script calls of its own kind, because it would slow calls beside it. */
  readonly isApart?: boolean;
  /** Bound on the calls in flight, this one included. */
  readonly maxInFlight: number;
  /** Set by the connection: the message published when the call was submitted, if there was a subscriber. */
  submission?: StoreSubmission | undefined;
  fail(error: RateLimiterError): void;
  /** Present if its keys may be in several slots; returns why they are, as the error for a server that refuses that. */
  slotsApart?(): RateLimiterError | undefined;
  /** Present if the call takes a reply that comes after it has failed. */
  readonly late?: unknown;
}
