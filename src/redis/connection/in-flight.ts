import { clearTimeout, monotonicMs, setImmediate, setTimeout } from '../../base/timers.ts';
import type { RateLimiterError } from '../../base/errors.ts';
import { StoreError } from '../../base/errors.ts';
import type { Batch } from './batch.ts';
import type { QueuedCall } from './queued-call.ts';
import { publishEnd } from './store-call-messages.ts';

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
export class InFlight<C extends QueuedCall> {
  readonly #batches = new Set<Batch<C>>();
  readonly #owner: Owner<C>;
  #calls = 0;
  /** The error for calls beyond the bound, until a call is settled. */
  #overloaded: StoreError | undefined;
  /** Number of calls whose callers still wait. */
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(owner: Owner<C>) {
    this.#owner = owner;
  }

  /** Calls that the client has not settled yet, those that are queued for a batch included. */
  get calls(): number {
    return this.#calls;
  }

  /** The error for a call if this many are in flight. */
  refusal(maxInFlight: number): StoreError | undefined {
    if (this.#calls < maxInFlight) {
      return undefined;
    }
    this.#overloaded ??= new StoreError(
      'overloaded',
      `${this.#calls} calls to Redis are in flight, of ${maxInFlight} at most (\`maxInFlight\`).`,
    );
    return this.#overloaded;
  }

  /** Counts a call that is queued for a batch. Returns the number of calls in flight, this one included. */
  addCall(): number {
    this.#calls += 1;
    return this.#calls;
  }

  /** Adds a batch of calls that have been counted. */
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

  /** Answers the callers still waiting for the batch. Until the client settles the batch, it still counts. */
  fail(batch: Batch<C>, error: RateLimiterError): void {
    const calls = this.takeCalls(batch);
    if (calls === undefined) {
      return;
    }
    if (batch.sent && calls.some(({ late }) => late !== undefined)) {
      batch.failed = calls;
    }
    publishEnd(batch, error);
    for (const call of calls) {
      call.fail(error);
    }
  }

  /** Answers the callers still waiting for a batch that the client has settled or never got, and removes it. */
  giveUp(batch: Batch<C>, error: RateLimiterError): void {
    this.fail(batch, error);
    this.settle(batch);
  }

  /** Removes a batch. Its calls still count, since other batches are made of them. */
  remove(batch: Batch<C>): void {
    this.#batches.delete(batch);
  }

  /** Removes a batch that the client has settled, or is given up waiting for. */
  settle(batch: Batch<C>): void {
    if (this.#batches.delete(batch)) {
      this.#calls -= batch.size;
      this.#overloaded = undefined;
    }
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
