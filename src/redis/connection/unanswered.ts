import { StoreError } from '../../base/errors.ts';
import { openingMs } from '../../base/opening.ts';
import { monotonicMs } from '../../base/timers.ts';
import { isOfOneKey } from './batch.ts';
import type { Batch } from './batch.ts';
import type { Parts } from './parts.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Sender } from './sender.ts';

/** After this many deadlines without an answer of the client a batch no longer counts as in flight. */
const WRITE_OFF_AFTER = 10;

/** Ends batches without an answer: at a new connection, at the loss of one, and at their deadline. */
export class Unanswered<C extends QueuedCall> {
  readonly #parts: Parts<C>;
  readonly #sender: Sender<C>;

  constructor(parts: Parts<C>, sender: Sender<C>) {
    this.#parts = parts;
    this.#sender = sender;
  }

  /** There is a connection: sends the batches that waited for it, each with its whole deadline. */
  onReady(): void {
    const { batches, lanes, outage } = this.#parts;
    outage.over();
    lanes.recovered();
    outage.tell('ready', '');
    const now = monotonicMs();
    for (const batch of batches) {
      if (isUnsent(batch)) {
        batches.postpone(batch, now + batch.timeoutMs);
        this.#sender.send(batch);
      }
    }
  }

  /** The connection is lost. Fails batches that were sent, since they may have run; others may wait for the next connection. */
  onLoss(): void {
    const { batches, lanes, state, outage } = this.#parts;
    lanes.recovered(); // a new connection may lead to another server
    lanes.stopAsking();
    if (!state.isConnecting) {
      state.endStart();
      outage.awayError(); // reports the outage even if no call waits
    }
    for (const batch of batches) {
      if (batch.sent && batch.calls !== undefined) {
        batches.fail(batch, outage.awayError());
      }
    }
    this.holdUnsent();
  }

  /** Sets until when unsent batches wait for the connection, and answers those that may not wait. */
  holdUnsent(): void {
    const { batches, state, outage } = this.#parts;
    const now = monotonicMs();
    for (const batch of batches) {
      if (isUnsent(batch)) {
        const until = state.heldUntil(batch.timeoutMs);
        if (until > now) {
          batches.postpone(batch, until);
        } else {
          batches.giveUp(batch, outage.awayError());
        }
      }
    }
  }

  /** Called when the batch's `dueAt` has passed: the callers' deadline, or once they are answered, the batch's own. */
  overdue(batch: Batch<C>): void {
    const { batches, counts, state, outage } = this.#parts;
    const lostMs = state.lostMs - batch.lostMs;
    if (batch.calls === undefined) {
      counts.writtenOff += 1;
      batches.settle(batch);
    } else if (lostMs > 0 && !isLongOverdue(batch)) {
      batch.lostMs += lostMs;
      batches.postpone(batch, monotonicMs() + lostMs);
    } else if (state.phase === 'ready') {
      this.#timeOut(batch);
    } else {
      batches.giveUp(batch, outage.awayError());
    }
  }

  #timeOut(batch: Batch<C>): void {
    const { batches, state, outage } = this.#parts;
    const { lane, timeoutMs } = batch;
    state.endStart();
    if (batch.slot !== -1 && lane.heardSince(batch.sentAt) && !isOfOneKey(batch)) {
      // ioredis keeps TRYAGAIN to itself, and sends a batch again and again while its slot moves.
      lane.keepApart(batch.slot);
    }
    const error = new StoreError('store_timeout', `Redis did not answer within ${timeoutMs} ms.`, {
      cause: outage.cause,
    });
    if (lane.missed(batch, error)) {
      outage.tell('hung', lane.node, error);
    }
    if (batch.sent) {
      batches.fail(batch, error);
      batches.postpone(batch, batch.sentAt + WRITE_OFF_AFTER * timeoutMs);
    } else {
      batches.giveUp(batch, error);
    }
  }
}

function isUnsent<C>({ sent, calls }: Batch<C>): boolean {
  return !sent && calls !== undefined;
}

/** Whether a sent batch has used the time that its calls had for the first connection: it gets no more. */
function isLongOverdue<C>({ sent, sentAt, timeoutMs }: Batch<C>): boolean {
  return sent && monotonicMs() - sentAt > openingMs(timeoutMs);
}
