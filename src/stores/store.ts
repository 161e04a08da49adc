import type { Entry, Shape } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import type { RateLimiterError } from '../base/errors.ts';
import type { StoreSubmission } from '../observe/messages.ts';

/**
 * One call on its way through a store. The store calls exactly one of `settle` and `fail`, once; after `fail` it may
 * still call `late`, once.
 */
export interface Call extends Entry {
  /** A store plans windows of the calendar anew where its clock shows others. */
  shape: Shape;
  /** How long a store may take, and how many calls it may have in flight; a store that needs neither ignores them. */
  timeoutMs: number;
  readonly maxInFlight: number;
  /** A store's own note, for those who trace the call. */
  submission?: StoreSubmission | undefined;
  /** A store's own notes: which server is asked, and how often the call was planned anew. */
  server?: AskedServer | undefined;
  replans: number;
  /**
   * `reply[0]` is the store's clock at the decision, in whole microseconds since the Unix epoch; the integers of
   * this call's shape begin at `reply[at]`.
   */
  settle(reply: readonly number[], at: number): void;
  fail(error: RateLimiterError): void;
  /** As `settle`, for an answer that came after the call had failed: the call took effect all the same. */
  late?: ((reply: readonly number[], at: number) => void) | undefined;
}

/** The server that a call was sent to. */
export interface AskedServer {
  /** Notes the server's time, in microseconds, as a reply has it. */
  heard(nowMicros: number): void;
  /**
   * The server's clock showed another window than the call was planned for, so nothing ran. Asks again with the windows
   * of the server's time, within what is left of the call's deadline; false where nothing is left.
   */
  askAgain(call: Call, skew: Skew): boolean;
}

/** What the calls of one reply that were planned for other windows have in common, so that they travel together again. */
export interface Skew {
  /** The server's time. */
  readonly nowMicros: number;
  /** From when the calls were sent until the reply. */
  readonly tookMs: number;
  /** The new shapes, by the old ones. */
  readonly shapes: Map<Shape, Shape>;
}

/** Where state lives: Redis, or this process's memory. */
export interface Store {
  /** The clock that decides, as well as this process knows it: windows of the calendar are planned by it. */
  readonly clock: Clock;
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
