import type { StoreError } from '../../base/errors.ts';
import { monotonicMs } from '../../base/timers.ts';

/** For how long calls to a slot that moves are sent apart. Then one batch tries whether it still moves. */
const APART_MS = 5_000;

/** The error of calls of one deadline while the server hangs, and when the next of them is sent as a probe. */
interface Hang {
  readonly error: StoreError;
  nextProbeAt: number;
}

/**
 * One server: its queue, and whether it answers. It *hangs* for calls of one deadline if a batch of theirs has waited for
 * that deadline and nothing has answered since the batch was sent. Then one such call per deadline is sent as a probe,
 * and all others are answered at once. Calls with longer deadlines are sent as before. Any answer ends the hang.
 */
export class Lane<C> {
  readonly node: string;
  /** Whether this lane's batches wait for the answer to a question that charges nothing. */
  asking = false;
  #queue = new Map<number, C[]>();
  #lastAnswerAt = monotonicMs();
  /** Deadline in milliseconds -> hang. */
  readonly #hangs = new Map<number, Hang>();
  /** Slot -> until when its calls are sent apart. */
  readonly #apart = new Map<number, number>();
  #isLost = false;
  /** The state that was reported, until the server answers again. */
  #reported: 'away' | 'hung' | undefined;

  constructor(node: string) {
    this.node = node;
  }

  get isHung(): boolean {
    return this.#hangs.size > 0;
  }

  /** Whether the connection broke under a call while the client said that it is connected. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Whether the server has answered at this instant or later. A new lane counts as answered. */
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

  /** Notes that calls of several identities in this slot were not decided together: it moves to another server. */
  keepApart(slot: number): void {
    this.#apart.set(slot, monotonicMs() + APART_MS);
  }

  /** Whether each identity of this slot gets a script call of its own. */
  keepsApart(slot: number): boolean {
    const until = this.#apart.get(slot);
    if (until !== undefined && until < monotonicMs()) {
      this.#apart.delete(slot);
      return false;
    }
    return until !== undefined;
  }

  takeQueue(): Map<number, C[]> {
    const queue = this.#queue;
    this.#queue = new Map();
    return queue;
  }

  /** The error for a call with this deadline if the server hangs and no probe is due; undefined if it is sent. */
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

  /** Records an answer of the server; true if it ends a state that was reported. */
  answered(): boolean {
    this.forgetTrouble();
    const wasReported = this.#reported !== undefined;
    this.#reported = undefined;
    return wasReported;
  }

  /** Counts the server as answering. Its next answer ends what was reported. */
  forgetTrouble(): void {
    this.#lastAnswerAt = monotonicMs();
    this.#hangs.clear();
    this.#isLost = false;
  }

  /** Notes that the connection broke under a call; true if this is to be reported. */
  lost(): boolean {
    this.#isLost = true;
    return this.#report('away');
  }

  /** Notes that a batch missed its deadline; true if a hang begins that is to be reported. */
  missed(
    { sentAt, timeoutMs }: { readonly sentAt: number; readonly timeoutMs: number },
    error: StoreError,
  ): boolean {
    if (this.#hangs.has(timeoutMs) || this.#lastAnswerAt > sentAt) {
      return false;
    }
    this.#hangs.set(timeoutMs, { error, nextProbeAt: monotonicMs() + timeoutMs });
    return this.#report('hung');
  }

  #report(state: 'away' | 'hung'): boolean {
    const isNew = this.#reported !== state;
    this.#reported = state;
    return isNew;
  }
}
