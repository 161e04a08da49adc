import { StoreError } from '../../base/errors.ts';
import { monotonicMs, setTimeout } from '../../base/timers.ts';
import { isOfOneKey } from './batch.ts';
import type { Batch, Starter } from './batch.ts';
import { messageOf } from './outage.ts';
import type { Parts } from './parts.ts';
import type { QueuedCall } from './queued-call.ts';
import { resendAfter } from './resend.ts';
import type { ScriptCommand } from './resend.ts';
import { slotOf } from './slot.ts';
import { publishEnd, publishStart } from './store-call-messages.ts';

/** Milliseconds before a batch is resent: moving a slot takes as long as copying its keys. */
const TRY_AGAIN_MS = 20;

/** Sends each batch as one script call, and answers its callers from the reply. */
export class Sender<C extends QueuedCall> {
  readonly #parts: Parts<C>;
  readonly #starter: Starter<C>;

  /** The starter is handed the batches that a batch is split into. */
  constructor(parts: Parts<C>, starter: Starter<C>) {
    this.#parts = parts;
    this.#starter = starter;
  }

  send(batch: Batch<C>, command: ScriptCommand = 'EVALSHA'): void {
    const { port, script, counts, name } = this.#parts;
    const { keys, args } = batch.encoded;
    const id = command === 'EVAL' ? script.source.text : script.source.sha1;
    if (!batch.sent) {
      batch.sent = true;
      batch.sentAt = monotonicMs();
      counts.calls += 1;
      counts.entries += batch.size;
      counts.keys += keys.length;
      publishStart(batch, name);
    } else if (batch.message !== undefined) {
      batch.message.command = command;
    }
    try {
      port.send(command, [id, String(keys.length), ...keys, ...args], keys[0]!).then(
        (value) => this.#onReply(batch, value),
        (error: unknown) => this.#onError(batch, command, error),
      );
    } catch (error) {
      this.#onError(batch, command, error);
    }
  }

  #onReply(batch: Batch<C>, reply: unknown): void {
    const { script, counts, batches, outage } = this.#parts;
    outage.answered(batch.lane);
    batches.settle(batch);
    const calls = batches.takeCalls(batch);
    if (calls === undefined) {
      counts.lateReplies += 1;
      this.#settleLate(batch, reply);
      return;
    }
    try {
      script.settle(calls, reply, batch.sentAt, batch.lane.node);
      publishEnd(batch);
    } catch (cause) {
      const error = new StoreError('store_error', 'Redis sent a reply of another form.', { cause });
      publishEnd(batch, error);
      for (const call of calls) {
        call.fail(error);
      }
    }
  }

  #settleLate({ failed }: Batch<C>, reply: unknown): void {
    if (failed !== undefined) {
      try {
        this.#parts.script.settleLate?.(failed, reply);
      } catch {
        // An invalid reply, whose callers have been answered already.
      }
    }
  }

  #onError(batch: Batch<C>, command: ScriptCommand, error: unknown): void {
    const { port, counts, batches, state, outage } = this.#parts;
    const isReply = port.isReply(error);
    if (isReply) {
      outage.answered(batch.lane);
      if (batch.calls === undefined) {
        counts.lateReplies += 1;
      } else if (state.port === 'ready' && this.#resend(batch, command, messageOf(error))) {
        return;
      }
    }
    batches.giveUp(batch, outage.errorOf(error, isReply, batch.lane));
  }

  /** Resends a batch if the server's error reply proves that nothing ran; false if not. */
  #resend(batch: Batch<C>, command: ScriptCommand, message: string): boolean {
    const how = resendAfter(message, command, batch.slot, isOfOneKey(batch));
    if (how === 'text') {
      this.#parts.counts.noScript += 1;
      this.send(batch, 'EVAL');
    } else if (how === 'by slot') {
      this.#splitBySlot(batch);
    } else if (how === 'by key') {
      batch.lane.keepApart(batch.slot);
      this.#split(batch, ({ key }) => key);
    } else if (how === 'later') {
      setTimeout(() => this.#tryAgain(batch, command), TRY_AGAIN_MS);
    }
    return how !== undefined;
  }

  #tryAgain(batch: Batch<C>, command: ScriptCommand): void {
    const { batches, state, outage } = this.#parts;
    if (batch.calls !== undefined && state.port === 'ready') {
      this.send(batch, command);
    } else {
      batches.giveUp(batch, outage.awayError());
    }
  }

  #splitBySlot(batch: Batch<C>): void {
    this.#parts.lanes.separateSlots();
    this.#split(batch, (call) => {
      const apart = call.slotsApart?.();
      if (apart === undefined) {
        return slotOf(call.key);
      }
      call.fail(apart);
      return undefined;
    });
  }

  /** Replaces a batch by several: of the calls with one group each. A call without a group has been answered. */
  #split(batch: Batch<C>, groupOf: (call: C) => string | number | undefined): void {
    const { script, batches } = this.#parts;
    publishEnd(batch);
    const groups = new Map<string | number, C[]>();
    for (const call of batches.takeCalls(batch) ?? []) {
      const group = groupOf(call);
      if (group !== undefined) {
        groups.set(group, [...(groups.get(group) ?? []), call]);
      }
    }
    batches.remove(batch);
    for (const calls of groups.values()) {
      this.#starter.start({
        ...batch,
        slot: slotOf(calls[0]!.key),
        calls,
        encoded: script.encode(calls, 0),
        size: calls.length,
        sent: false,
        graced: false,
      });
    }
  }
}
