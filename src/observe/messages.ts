import type { Decision } from '../base/decision.ts';
import type { StoreFailure } from '../base/errors.ts';

/**
 * What subscribers of the tracing channel `distributed-rate-limiter:check` see of one call. It holds no
 * identity. `result` is there from `asyncStart` on, unless the call rejected: then it is `error`.
 */
export interface CheckMessage {
  readonly operation: 'allow' | 'peek' | 'acquire';
  readonly namespace: string;
  readonly cost: number;
  result?: Decision;
  error?: unknown;
}

/** What subscribers of the channel `distributed-rate-limiter:store` are told when Redis's state changes. */
export interface StoreStateMessage {
  /** `away`: no connection. `hung`: connected, but not answering. `ready`: answering. */
  readonly state: 'ready' | 'away' | 'hung';
  /** Where the connection leads to, `host:port` where that is known; never with a password. */
  readonly store: string;
  /** On a cluster, the node concerned; empty for all of it. */
  readonly node: string;
  readonly error?: unknown;
}

/**
 * What subscribers of the channel `distributed-rate-limiter:store-submit` are told of one call of a limiter, in the
 * caller's own async context, before it waits for its script call. The same object is then in that script call's
 * `submissions`: what a subscriber wants to remember of the caller it keeps on it, under a symbol of its own.
 */
export interface StoreSubmission {
  readonly store: string;
}

/**
 * What subscribers of the tracing channel `distributed-rate-limiter:store-call` see of one script call: many decisions
 * may travel in it. It holds no identity, no key and no argument. `outcome` and `durationMs` are there from `asyncStart`
 * on; `error` too, and the event `error` before, where the calls were answered without a reply.
 */
export interface StoreCallMessage {
  readonly store: string;
  /** On a cluster, the node that it went to; empty elsewhere. */
  readonly node: string;
  /** Calls of limiters that travel together. */
  readonly entries: number;
  readonly keys: number;
  /** Those of its calls that were published on `distributed-rate-limiter:store-submit`. */
  readonly submissions: readonly StoreSubmission[];
  /** `EVAL` once the server had to be told the script's text. */
  command: 'EVALSHA' | 'EVAL';
  /** `answered`: by a reply, whatever it said of each call. */
  outcome?: 'answered' | StoreFailure;
  /** From sending until the callers were answered, with or without a reply. */
  durationMs?: number;
  error?: unknown;
}
