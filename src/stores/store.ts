import type { Entry, Shape } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import type { LocalView } from './local-view.ts';
import type { QueuedCall } from '../redis/connection/queued-call.ts';

/**
 * One call on its way through a store. The store calls exactly one of `settle` and `fail`, once; after `fail` it may
 * still call `late`, once. A memory store ignores the deadline and the bound on calls in flight.
 */
export interface Call extends Entry, QueuedCall {
  /** A store replans calendar windows if its clock shows others. */
  shape: Shape;
  timeoutMs: number;
  /** Set by the store: the server that is asked, and how often the call was replanned. */
  server?: AskedServer | undefined;
  replans: number;
  /**
   * `reply[0]` is the store's clock at the decision, in whole microseconds since the Unix epoch; the integers of
   * this call's shape begin at `reply[at]`.
   */
  settle(reply: readonly number[], at: number): void;
  /**
   * Called before the answer is made of the reply, or with no reply if the store gives none. Set by watchers of a
   * `LocalView`.
   */
  ended?: ((reply: readonly number[] | undefined, at: number) => void) | undefined;
  /** Takes an answer that came after the call had failed: the call took effect nevertheless. Arguments as in `settle`. */
  late?: ((reply: readonly number[], at: number) => void) | undefined;
}

/** The server that a call was sent to. */
export interface AskedServer {
  /**
   * Notes the server's time in a reply, in microseconds; `node` is the node of a cluster. The call was sent at `sentAtMs`
   * of the monotonic clock.
   */
  heard(nowMicros: number, sentAtMs: number, node: string): void;
  /**
   * Sends a call again whose window is not that of the server's clock, so that nothing ran. Plans the windows by the
   * server's time. Keeps the call's deadline; false if nothing is left of it.
   */
  askAgain(call: Call, skew: Skew): boolean;
}

/** Shared by the calls of one reply that were planned for other windows, so that they travel together again. */
export interface Skew {
  /** The server's time. */
  readonly nowMicros: number;
  /** Milliseconds from when the calls were sent until the reply. */
  readonly tookMs: number;
  /** Old shape -> new shape. */
  readonly shapes: Map<Shape, Shape>;
}

/** Where state lives: Redis, or this process's memory. */
export interface Store {
  /** The deciding clock, as far as this process knows it: calendar windows are planned by it. */
  readonly clock: Clock;
  /** The clock on which callers of this store wait. It runs at the pace of the deciding clock. */
  readonly time: Clock;
  /** Whether other processes use the same states. */
  readonly isShared: boolean;
  /** Begins slow preparations that open no connection. Called once, when a limiter is made. */
  prepare?(): void;
  submit(call: Call): void;
  /** What this process knows by itself of the states, shared by all limiters on a connection. */
  local(): LocalView<Call>;
  /** Emits one process warning per code about where the state lives; absent if no server is asked. */
  warn?(code: string, text: string): void;
  /** Closes what this store opened. Calls that are still under way settle first. */
  close(): Promise<void>;
}
