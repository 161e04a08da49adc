import { channel, tracingChannel } from 'node:diagnostics_channel';
import type { Channel, TracingChannel } from 'node:diagnostics_channel';
import type { StoreFailure } from '../base/errors.ts';
import type { CheckMessage, StoreCallMessage, StoreStateMessage } from './messages.ts';
import { rememberUnreported } from './store-warnings.ts';

// Both type arguments are the message, because @types/node 26 swapped their order.
/** Spans one `allow`, `peek` or `acquire`. Without subscribers it costs one read of a property. */
export const checks: TracingChannel<CheckMessage, CheckMessage> = tracingChannel(
  'distributed-rate-limiter:check',
);

/** Spans one script call. Without subscribers it costs a few reads per script call, and nothing per decision. */
export const storeCalls: TracingChannel<StoreCallMessage, StoreCallMessage> = tracingChannel(
  'distributed-rate-limiter:store-call',
);

/** Publishes each `StoreSubmission`. Without subscribers it costs a decision one read of a property. */
export const storeSubmits: Channel = channel('distributed-rate-limiter:store-submit');

/** Publishes each `StoreStateMessage`. */
export const storeStates: Channel = channel('distributed-rate-limiter:store');

export function publishStoreState(message: StoreStateMessage): void {
  if (storeStates.hasSubscribers) {
    storeStates.publish(message);
  } else {
    rememberUnreported(message);
  }
}

/** Ends a script call's span, once. */
export function endStoreCall(
  message: StoreCallMessage,
  durationMs: number,
  outcome: 'answered' | StoreFailure,
  error?: unknown,
): void {
  message.durationMs = durationMs;
  message.outcome = outcome;
  if (error !== undefined) {
    message.error = error;
    storeCalls.error.publish(message);
  }
  storeCalls.asyncStart.publish(message);
  storeCalls.asyncEnd.publish(message);
}
