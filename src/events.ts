import { channel, tracingChannel } from 'node:diagnostics_channel';
import type { TracingChannel } from 'node:diagnostics_channel';
import type { Decision } from './decision.ts';

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
  /** On a cluster, the node concerned; empty for all of it. */
  readonly node: string;
  readonly error?: unknown;
}

/** Spans one `allow`, `peek` or `acquire`. Without subscribers it costs one read of a property. */
export const checks: TracingChannel<unknown, CheckMessage> = tracingChannel(
  'distributed-rate-limiter:check',
);

const storeStates = channel('distributed-rate-limiter:store');

export function publishStoreState(message: StoreStateMessage): void {
  if (storeStates.hasSubscribers) {
    storeStates.publish(message);
  }
}
