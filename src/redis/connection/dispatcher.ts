import { setTimeout } from '../../base/timers.ts';
import type { Batch } from './batch.ts';
import type { Lane } from './lane.ts';
import type { Parts } from './parts.ts';
import { Pulse } from './pulse.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Sender } from './sender.ts';

/** Milliseconds before a question is repeated: a client may refuse to write before it reports that its connection is lost. */
const ASK_AGAIN_MS = 20;

/**
 * The hash of no script, to ask whether a server is there: it answers `NOSCRIPT`. Every user of the library may run this
 * command, and it charges nothing and leaves nothing in the script cache.
 */
const NO_SCRIPT = '0'.repeat(40);

/**
 * Sends batches on an established connection. After a pause of this process or of the traffic the server must first have
 * answered a question. A batch sent on a lost connection would be lost.
 */
export class Dispatcher<C extends QueuedCall> {
  readonly #parts: Parts<C>;
  readonly #sender: Sender<C>;
  readonly #pulse = new Pulse();

  constructor(parts: Parts<C>, sender: Sender<C>) {
    this.#parts = parts;
    this.#sender = sender;
  }

  end(): void {
    this.#pulse.end();
  }

  dispatch(batch: Batch<C>): void {
    const { lane } = batch;
    if (lane.heardSince(this.#pulse.traffic(batch.sentAt))) {
      this.#sender.send(batch);
    } else if (!lane.asking) {
      this.#ask(lane, batch.encoded.keys[0]!);
    }
  }

  #ask(lane: Lane<C>, key: string, isRepeated = false): void {
    lane.asking = true;
    const { port } = this.#parts;
    const failed = (error: unknown): void => this.#onFailure(lane, key, isRepeated, error);
    try {
      port.send('EVALSHA', [NO_SCRIPT, '1', key], key).then(
        () => this.#onAnswer(lane),
        (error: unknown) => (port.isReply(error) ? this.#onAnswer(lane) : failed(error)),
      );
    } catch (error) {
      failed(error);
    }
  }

  #onAnswer(lane: Lane<C>): void {
    const { outage, state } = this.#parts;
    lane.asking = false;
    outage.answered(lane);
    // Otherwise the batches wait for the connection, or were answered.
    if (state.port === 'ready') {
      for (const batch of this.#unsentOf(lane)) {
        this.#sender.send(batch);
      }
    }
  }

  #onFailure(lane: Lane<C>, key: string, isRepeated: boolean, error: unknown): void {
    const { state, batches, outage } = this.#parts;
    lane.asking = false;
    if (state.port !== 'ready') {
      return;
    }
    if (!isRepeated) {
      lane.asking = true;
      setTimeout(() => this.#askAgain(lane, key), ASK_AGAIN_MS);
      return;
    }
    for (const batch of this.#unsentOf(lane)) {
      batches.giveUp(batch, outage.errorOf(error, false, lane));
    }
  }

  #askAgain(lane: Lane<C>, key: string): void {
    if (lane.asking && this.#parts.state.port === 'ready') {
      this.#ask(lane, key, true);
    }
  }

  *#unsentOf(lane: Lane<C>): Iterable<Batch<C>> {
    for (const batch of this.#parts.batches) {
      if (batch.lane === lane && !batch.sent && batch.calls !== undefined) {
        yield batch;
      }
    }
  }
}
