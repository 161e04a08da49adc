import type { Cost, Decision } from '../base/decision.ts';
import type { StoreFailure } from '../base/errors.ts';

/**
 * One call, as subscribers of the tracing channel `distributed-rate-limiter:check` get it. It contains no identity.
 * From `asyncStart` on, `result` is set, or `error` if the call rejected.
 */
export interface CheckMessage {
  readonly operation: 'allow' | 'peek' | 'acquire';
  readonly namespace: string;
  /** By name where limits have units. */
  readonly cost: Cost;
  result?: Decision;
  error?: unknown;
}

/** A change of Redis's state, as subscribers of the channel `distributed-rate-limiter:store` get it. */
export interface StoreStateMessage {
  /** `away`: no connection. `hung`: connected, but not answering. `ready`: answering. */
  readonly state: 'ready' | 'away' | 'hung';
  /** The connection's address, `host:port` if known; never with a password. */
  readonly store: string;
  /** On a cluster, the node concerned; empty for the whole cluster. */
  readonly node: string;
  readonly error?: unknown;
}

/**
 * One call of a limiter, as subscribers of the channel `distributed-rate-limiter:store-submit` get it. They get it in
 * the caller's own async context, before the call waits for its script call. The same object is then in that script
 * call's `submissions`, so a subscriber can keep facts about the caller on it, under its own symbol.
 */
export interface StoreSubmission {
  readonly store: string;
}

/**
 * One script call, which may carry many decisions, as subscribers of the tracing channel
 * `distributed-rate-limiter:store-call` get it. It contains no identity, key or argument. `outcome` and `durationMs`
 * are set from `asyncStart` on. If the calls were answered without a reply, `error` is set too, and the event `error`
 * comes first.
 */
export interface StoreCallMessage {
  readonly store: string;
  /** On a cluster, the node that it was sent to; empty otherwise. */
  readonly node: string;
  /** The number of limiter calls in it. */
  readonly entries: number;
  readonly keys: number;
  /** The messages about its calls on `distributed-rate-limiter:store-submit`. */
  readonly submissions: readonly StoreSubmission[];
  /** `EVAL` if the script call was sent again with the script's text. */
  command: 'EVALSHA' | 'EVAL';
  /** `answered` if there was a reply, whatever it said of each call. */
  outcome?: 'answered' | StoreFailure;
  /** Milliseconds from sending until the callers were answered, with or without a reply. */
  durationMs?: number;
  error?: unknown;
}
