import { clearTimeout, monotonicMs, setImmediate, setTimeout } from '../../base/timers.ts';
import type { Batch } from './lane.ts';

/** A timer that fires this much late shows that the event loop was blocked, not Redis. */
const BLOCKED_LOOP_MS = 20;
/** Extra time that a batch then gets once, to read an answer or write a call that the blocked loop delayed. */
const GRACE_MS = 40;

/** A method, not a function type, so that connections of all kinds of calls have one type. */
interface Owner<C> {
  /** Told of a batch whose `dueAt` has passed: postpones or deletes it. */
  overdue(batch: Batch<C>): void;
}

/**
 * Batches under way, in the order in which they were made, until the client settles them or they are written off. One
 * timer holds all of them to their deadlines.
 */
export class InFlight<C> {
  readonly #batches = new Set<Batch<C>>();
  readonly #owner: Owner<C>;
  /** Number of calls whose callers still wait. */
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(owner: Owner<C>) {
    this.#owner = owner;
  }

  add(batch: Batch<C>): void {
    this.#batches.add(batch);
    this.#wait(batch.size);
    this.#arm(batch.dueAt);
  }

  /** Takes the calls still waiting for the batch, to be answered now; undefined if they were answered before. */
  takeCalls(batch: Batch<C>): readonly C[] | undefined {
    const { calls } = batch;
    if (calls !== undefined) {
      batch.calls = undefined;
      this.#wait(-batch.size);
    }
    return calls;
  }

  postpone(batch: Batch<C>, dueAt: number): void {
    batch.dueAt = dueAt;
    this.#arm(dueAt);
  }

  /** Removes a batch; false if it was not there. */
  delete(batch: Batch<C>): boolean {
    return this.#batches.delete(batch);
  }

  [Symbol.iterator](): IterableIterator<Batch<C>> {
    return this.#batches.values();
  }

  /** Lets the process end while batches only wait to be written off. */
  #wait(change: number): void {
    const before = this.#waiting;
    this.#waiting += change;
    if (before === 0) {
      this.#timer?.ref();
    } else if (this.#waiting === 0) {
      this.#timer?.unref();
    }
  }

  #arm(dueAt: number): void {
    if (dueAt >= this.#timerDue) {
      return;
    }
    clearTimeout(this.#timer);
    this.#timerDue = dueAt;
    this.#timer = setTimeout(this.#onTimer, Math.max(1, dueAt - monotonicMs()));
    if (this.#waiting === 0) {
      this.#timer.unref();
    }
  }

  readonly #onTimer = (): void => {
    const now = monotonicMs();
    const late = now - this.#timerDue > BLOCKED_LOOP_MS;
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
    let overdue = false;
    for (const batch of this.#batches) {
      if (batch.dueAt <= now) {
        if (late && !batch.graced && batch.calls !== undefined) {
          batch.graced = true;
          batch.dueAt = now + Math.min(GRACE_MS, batch.timeoutMs);
        } else {
          overdue = true;
          continue;
        }
      }
      this.#arm(batch.dueAt);
    }
    if (overdue) {
      // An answer may lie in a socket that this turn of the loop has yet to read.
      setImmediate(this.#expire, now);
    }
  };

  readonly #expire = (now: number): void => {
    for (const batch of this.#batches) {
      if (batch.dueAt <= now) {
        this.#owner.overdue(batch);
      }
    }
  };
}
