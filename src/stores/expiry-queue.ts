/** A state with its key and the time at which it expires. */
export interface Kept {
  readonly key: string;
  value: unknown;
  /** Microseconds, on the store's clock. */
  expiresAt: number;
  /** Removed from the store, but not yet from the queue. */
  gone: boolean;
  /** The time by which the queue sorts it: never later than `expiresAt`. */
  queuedFor: number;
}

/** Below this length a queue is not worth compacting. */
const SMALL = 64;

/**
 * States by the time at which they expire: a binary heap in which an extended state keeps its old position until that
 * comes up. So writing a known state costs nothing here, and each expired state is found at the cost of the writes since.
 */
export class ExpiryQueue {
  #heap: Kept[] = [];
  #gone = 0;

  add(state: Kept): void {
    state.queuedFor = state.expiresAt;
    this.#heap.push(state);
    this.#siftUp(this.#heap.length - 1);
  }

  /** Removes a state before it has expired. */
  remove(state: Kept): void {
    state.gone = true;
    this.#gone += 1;
    if (this.#heap.length > SMALL && this.#gone > this.#heap.length / 2) {
      this.#heap = this.#heap.filter(({ gone }) => !gone);
      this.#gone = 0;
      for (let at = this.#heap.length >> 1; at >= 0; at--) {
        this.#siftDown(at);
      }
    }
  }

  /** Takes out the next expired state; undefined if there is none. */
  takeEnded(now: number): Kept | undefined {
    for (let first = this.#heap[0]; first !== undefined && first.queuedFor <= now;) {
      if (!first.gone && first.expiresAt > now) {
        first.queuedFor = first.expiresAt;
        this.#siftDown(0);
      } else {
        this.#removeFirst();
        if (!first.gone) {
          return first;
        }
        this.#gone -= 1;
      }
      first = this.#heap[0];
    }
    return undefined;
  }

  clear(): void {
    this.#heap = [];
    this.#gone = 0;
  }

  #removeFirst(): void {
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#siftDown(0);
    }
  }

  #siftUp(from: number): void {
    const heap = this.#heap;
    const state = heap[from]!;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above]!.queuedFor <= state.queuedFor) {
        break;
      }
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = state;
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const state = heap[from];
    if (state === undefined) {
      return;
    }
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) {
        break;
      }
      if (below + 1 < heap.length && heap[below + 1]!.queuedFor < heap[below]!.queuedFor) {
        below += 1;
      }
      if (heap[below]!.queuedFor >= state.queuedFor) {
        break;
      }
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = state;
  }
}
