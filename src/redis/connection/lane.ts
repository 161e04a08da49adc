import type { StoreError } from '../../base/errors.ts';
import type { StoreCallMessage } from '../../observe/messages.ts';
import { monotonicMs } from '../../base/timers.ts';
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
  /** What this process had lost to its own slowness, in milliseconds, when `dueAt` was set. */
  lostMs: number;
  /** The event loop was blocked once, and more time was given. */
  graced: boolean;
  /** What its subscribers see of it, where there are any, until it ends. */
  message: StoreCallMessage | undefined;
}

/** What calls of one deadline are answered while the server hangs, and when the next of them is sent as a probe. */
interface Hang {
  readonly error: StoreError;
  nextProbeAt: number;
}

/**
 * One server: what is queued for it, and whether it answers. It *hangs* for calls of one deadline when a batch of
 * theirs has waited for that deadline and nothing has answered since it was sent. Then one such call per deadline is
 * sent as a probe, and all others are answered at once. Calls that wait longer go on as before. Any answer ends it.
 */
export class Lane<C> {
  readonly node: string;
  /** A question is under way whose answer this lane's batches wait for. */
  asking = false;
  #queue = new Map<number, C[]>();
  #lastAnswerAt = monotonicMs();
  /** By deadline. */
  readonly #hangs = new Map<number, Hang>();

  constructor(node: string) {
    this.node = node;
  }

  get isHung(): boolean {
    return this.#hangs.size > 0;
  }

  /** Whether something was answered at this instant or later. A lane that is new counts as answered. */
  heardSince(instant: number): boolean {
    return this.#lastAnswerAt >= instant;
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

  /** Why a call with this deadline is not to be sent now: the server hangs and no probe is due. */
  refusal(timeoutMs: number): StoreError | undefined {
    const hang = this.#hangs.get(timeoutMs);
    if (hang === undefined) {
      return undefined;
    }
    const now = monotonicMs();
    if (now < hang.nextProbeAt) {
      return hang.error;
    }
    hang.nextProbeAt = now + timeoutMs;
    return undefined;
  }

  /** Notes a sign of life; true where it ends a hang. */
  answered(): boolean {
    this.#lastAnswerAt = monotonicMs();
    const wasHung = this.isHung;
    this.#hangs.clear();
    return wasHung;
  }

  /** Notes a deadline that passed; true where the first hang begins. */
  missed({ sentAt, timeoutMs }: Batch<C>, error: StoreError): boolean {
    if (this.#hangs.has(timeoutMs) || this.#lastAnswerAt > sentAt) {
      return false;
    }
    this.#hangs.set(timeoutMs, { error, nextProbeAt: monotonicMs() + timeoutMs });
    return this.#hangs.size === 1;
  }
}
