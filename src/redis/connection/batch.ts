import type { StoreCallMessage } from '../../observe/messages.ts';
import type { Lane } from './lane.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Encoded } from './script.ts';

/** Calls that are sent as one script call. */
export interface Batch<C> {
  readonly lane: Lane<C>;
  /** The slot of all its keys; -1 if the server takes keys of several slots. */
  readonly slot: number;
  /** Calls still waiting; undefined once they have been answered. */
  calls: readonly C[] | undefined;
  /** Calls that failed before the reply, and take it if it still comes. */
  failed: readonly C[] | undefined;
  readonly encoded: Encoded;
  readonly size: number;
  readonly timeoutMs: number;
  sent: boolean;
  sentAt: number;
  /** Deadline for answering the callers; once they are answered, for giving up on the batch. */
  dueAt: number;
  /** Milliseconds that this process had lost to its own slowness when `dueAt` was set. */
  lostMs: number;
  /** Whether the batch got extra time because the event loop was blocked. */
  graced: boolean;
  /** The message to subscribers, if there are any, until the script call ends. */
  message: StoreCallMessage | undefined;
}

/** Whether all calls of a batch that has not been answered are of one key. */
export function isOfOneKey<C extends QueuedCall>({ calls }: Pick<Batch<C>, 'calls'>): boolean {
  return calls === undefined || calls.every(({ key }) => key === calls[0]!.key);
}

/** Starts batches. A method, not a function type, so that connections of all kinds of calls have one type. */
export interface Starter<C> {
  start(batch: Batch<C>): void;
}

/** Makes an unsent batch of at least one call; all of the calls have one deadline, which begins at `now`. */
export function makeBatch<C extends QueuedCall>(
  lane: Lane<C>,
  slot: number,
  calls: readonly C[],
  encoded: Encoded,
  now: number,
): Batch<C> {
  const { timeoutMs } = calls[0]!;
  return {
    lane,
    slot,
    calls,
    failed: undefined,
    encoded,
    size: calls.length,
    timeoutMs,
    sent: false,
    sentAt: now,
    dueAt: now + timeoutMs,
    lostMs: 0,
    graced: false,
    message: undefined,
  };
}
