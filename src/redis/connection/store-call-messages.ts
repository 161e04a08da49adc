import { StoreError } from '../../base/errors.ts';
import type { RateLimiterError, StoreFailure } from '../../base/errors.ts';
import { monotonicMs } from '../../base/timers.ts';
import { endStoreCall, storeCalls, storeSubmits } from '../../observe/channels.ts';
import type { Batch } from './batch.ts';
import type { QueuedCall } from './queued-call.ts';

/** Tells subscribers, if there are any, that a batch is sent for the first time. */
export function publishStart<C extends QueuedCall>(batch: Batch<C>, store: string): void {
  if (!storeCalls.hasSubscribers) {
    return;
  }
  const calls = batch.calls ?? [];
  batch.message = {
    store,
    node: batch.lane.node,
    entries: batch.size,
    keys: batch.encoded.keys.length,
    submissions: storeSubmits.hasSubscribers
      ? calls.flatMap(({ submission }) => submission ?? [])
      : [],
    command: 'EVALSHA',
  };
  storeCalls.start.publish(batch.message);
  storeCalls.end.publish(batch.message);
}

/** Tells subscribers of a batch's start that its callers are answered, with or without a reply. */
export function publishEnd<C>(batch: Batch<C>, error?: RateLimiterError): void {
  const { message } = batch;
  if (message !== undefined) {
    batch.message = undefined;
    const outcome = error === undefined ? 'answered' : reasonOf(error);
    endStoreCall(message, monotonicMs() - batch.sentAt, outcome, error);
  }
}

/** Any other error than a StoreError means that the client library is missing. */
function reasonOf(error: RateLimiterError): StoreFailure {
  return error instanceof StoreError ? error.reason : 'store_away';
}
