import type { StoreError } from '../errors.ts';
import type { StoreCallMessage } from '../events.ts';
import type { Encoded } from './script.ts';

/** Calls that travel together. */
export interface Batch<C> {
  readonly lane: Lane<C>;
  /** The slot of all its keys, or -1 where the server does not care. */
  readonly slot: number;
  /** Who waits; undefined once they have been answered. */
  calls: readonly C[] | undefined;
  /** Who has been answered without the reply, and has to hear of it if it comes after all. */
  failed: readonly C[] | undefined;
  readonly encoded: Encoded;
  readonly size: number;
  readonly timeoutMs: number;
  sent: boolean;
  sentAt: number;
  /** When who waits is told, and after that, when the batch is written off. */
  dueAt: number;
  /** The event loop was blocked once, and more time was given. */
  graced: boolean;
  /** What its subscribers see of it, where there are any, until it ends. */
  message: StoreCallMessage | undefined;
}

/**
 * One server as one caller sees it: what is queued for it, and whether it answers. It is *hung* when a batch
 * has waited for its whole deadline and nothing has answered since it was sent. Then one call goes out as a
 * probe per deadline, and all others are answered at once; any answer ends it.
 */
export class Lane<C> {
  readonly node: string;
  #queue = new Map<number, C[]>();
  #lastAnswerAt = Number.NEGATIVE_INFINITY;
  #hung: StoreError | undefined;
  #nextProbeAt = 0;

  constructor(node: string) {
    this.node = node;
  }

  get isHung(): boolean {
    return this.#hung !== undefined;
  }

  enqueue(slot: number, call: C): void {
    const calls = this.#queue.get(slot);
    if (calls === undefined) {
      this.#queue.set(slot, [call]);
    } else {
      calls.push(call);
    }
  }

  takeQueue(): Map<number, C[]> {
    const queue = this.#queue;
    this.#queue = new Map();
    return queue;
  }

  /** Why a call is not to be sent now, if the server is hung and no probe is due. */
  refusal(timeoutMs: number): StoreError | undefined {
    if (this.#hung === undefined) {
      return undefined;
    }
    const now = performance.now();
    if (now < this.#nextProbeAt) {
      return this.#hung;
    }
    this.#nextProbeAt = now + timeoutMs;
    return undefined;
  }

  /** Notes a sign of life; true where it ends a hang. */
  answered(): boolean {
    this.#lastAnswerAt = performance.now();
    const wasHung = this.#hung !== undefined;
    this.#hung = undefined;
    return wasHung;
  }

  /** Notes a deadline that passed; true where a hang begins. */
  missed(batch: Batch<C>, error: StoreError): boolean {
    if (this.#hung !== undefined || this.#lastAnswerAt > batch.sentAt) {
      return false;
    }
    this.#hung = error;
    this.#nextProbeAt = performance.now() + batch.timeoutMs;
    return true;
  }
}
