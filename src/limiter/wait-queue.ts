import { AsyncResource } from 'node:async_hooks';
import { listenForAbort } from '../base/abort.ts';
import { wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import type {
  BlockedDecision,
  Decision,
  DegradedDecision,
  LimitedDecision,
} from '../base/decision.ts';
import { RateLimiterError } from '../base/errors.ts';
import { onWorkerd } from '../base/workerd.ts';

/** Random delay between processes that wait for one identity, so that they do not all call in the same millisecond. */
const MAX_JITTER_MS = 50;
/** Delays between two calls while the store gives no answer: doubled each time, from the first to the last. */
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1_000;

export interface WaitBounds {
  /** The longest that a caller waits; Infinity for no bound. */
  readonly timeoutMs: number;
  /** The most callers that wait behind the first of their identity. */
  readonly maxQueue: number;
  readonly signal: AbortSignal | undefined;
}

/** The answer to a caller that is refused if it waits in vain. */
interface Turn {
  /** Undefined if the queue is full and none of its callers has been answered yet. */
  readonly decision: Decision | undefined;
  /** Whether it was refused because as many callers wait already as `maxQueue` allows. */
  readonly isQueueFull: boolean;
}

/** Such an answer with a decision. */
export interface AnsweredTurn extends Turn {
  readonly decision: Decision;
}

/** Receives the answer of one call to the store. */
export interface Listener {
  /** Called at most once, as soon as there is a decision. */
  readonly decided: (decision: Decision) => void;
  /** Called instead of `decided` if the call itself failed. */
  readonly failed: (error: unknown) => void;
  /** Called if the call was charged after all, after `failed`, or after `decided` with a degraded decision. */
  readonly chargedLate: (decision: Decision) => void;
}

/** Makes one caller's call; its listener must be called in the turn of the store's reply. */
export type MakeCall = (listener: Listener) => void;

/** The parts of a limiter that its queues need. */
export interface WaitingSettings {
  /** The clock that waiters sleep on. */
  readonly clock: Clock;
  /** Whether other processes may wait for the same identities. */
  readonly isShared: boolean;
  /** Refunds a decision whose caller has stopped waiting. */
  giveBack(decision: Decision): void;
}

/** One waiting caller. A node of its queue's linked list, so that it leaves in constant time from any position. */
class Waiter {
  readonly queue: Queue;
  readonly makeCall: MakeCall;
  /** The caller's deadline, in microseconds on the store's clock. */
  readonly until: number;
  readonly isPatient: boolean;
  readonly signal: AbortSignal | undefined;
  /** Whether it gets the refusal itself, and no error, if it waits in vain. */
  readonly takesRefusal: boolean;
  readonly resolve: (decision: Decision) => void;
  readonly reject: (reason: unknown) => void;
  /** Calls run in their own caller's async context, even if another caller's turn triggers them. */
  readonly context: AsyncResource = new AsyncResource('distributed-rate-limiter.wait');
  before: Waiter | undefined;
  after: Waiter | undefined;
  /** Whether a call is pending, or the waiter sleeps until its next call. */
  isBusy = false;
  /** Whether it has made no call yet, because others were before it. */
  isFollower = false;
  isDone = false;
  retryMs: number = FIRST_RETRY_MS;
  stopSleeping: (() => void) | undefined;
  stopListening: (() => void) | undefined;

  constructor(
    queue: Queue,
    makeCall: MakeCall,
    until: number,
    signal: AbortSignal | undefined,
    takesRefusal: boolean,
    resolve: (decision: Decision) => void,
    reject: (reason: unknown) => void,
  ) {
    this.queue = queue;
    this.makeCall = makeCall;
    this.until = until;
    this.isPatient = until !== Number.POSITIVE_INFINITY && !takesRefusal;
    this.signal = signal;
    this.takesRefusal = takesRefusal;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/** The callers of one identity, in order of arrival. */
class Queue {
  readonly key: string;
  first: Waiter | undefined;
  last: Waiter | undefined;
  size = 0;
  /** The refusal that a caller of this queue got last. */
  refusal: Decision | undefined;
  /** Whether its serving loop is running: an answer in the same turn must not start a second loop. */
  isServed = false;

  constructor(key: string) {
    this.key = key;
  }

  add(waiter: Waiter): void {
    waiter.before = this.last;
    if (this.last === undefined) {
      this.first = waiter;
    } else {
      this.last.after = waiter;
    }
    this.last = waiter;
    this.size += 1;
  }

  remove({ before, after }: Waiter): void {
    if (before === undefined) {
      this.first = after;
    } else {
      before.after = after;
    }
    if (after === undefined) {
      this.last = before;
    } else {
      after.before = before;
    }
    this.size -= 1;
  }
}

/**
 * Lets callers wait for their turn: first come, first served for each identity within this process. Only the first of
 * an identity's queue calls the store. It sleeps for as long as the answer says, then calls again.
 */
export class WaitQueue {
  readonly #settings: WaitingSettings;
  readonly #queues = new Map<string, Queue>();
  /**
   * False if requests on workerd share a limiter. A request's timers end with the request, and the callers behind it
   * would wait for ever, so each caller makes its own calls.
   */
  readonly #keepsQueues: boolean;

  constructor(settings: WaitingSettings) {
    this.#settings = settings;
    this.#keepsQueues = settings.isShared || !onWorkerd;
  }

  /**
   * Calls until the call passes, or waiting cannot change the answer. `key` selects the queue. A decision that is
   * neither allowed nor `limited` nor `blocked` ends the waiting. The exception is a degraded decision for a caller
   * with a `timeoutMs`: it calls again until its time is over.
   */
  wait(key: string, makeCall: MakeCall, bounds: WaitBounds): Promise<Decision> {
    return new Promise((resolve, reject) => {
      bounds.signal?.throwIfAborted();
      const queue = this.#queueFor(key);
      if (queue.size > bounds.maxQueue) {
        throw new RateLimiterError(
          'ERR_WAIT_QUEUE_FULL',
          `${bounds.maxQueue} calls of this identity wait already behind the first, as many as \`maxQueue\` allows. Refuse this one, or raise \`maxQueue\`.`,
        );
      }
      this.#enter(queue, makeCall, bounds, false, undefined, resolve, reject);
    });
  }

  /** Whether callers wait in this queue, so that another one must not call before them. */
  isWaitedFor(key: string): boolean {
    return this.#queues.has(key);
  }

  /**
   * Waits like `wait`, and resolves with the last refusal if the call does not pass in time, the store gives no
   * answer, or the queue is full. A caller behind others makes one call at its own deadline, so that its refusal is
   * its own.
   *
   * @param refusal the answer that the caller has already got
   */
  async waitOrRefuse(
    key: string,
    makeCall: MakeCall,
    bounds: WaitBounds,
    refusal: LimitedDecision | BlockedDecision | undefined,
  ): Promise<Turn> {
    bounds.signal?.throwIfAborted();
    const queue = this.#queueFor(key);
    if (queue.size > bounds.maxQueue) {
      // A copy, because each caller's hook gets a decision of its own.
      return { decision: refusal ?? (queue.refusal && { ...queue.refusal }), isQueueFull: true };
    }
    const decision = await new Promise<Decision>((resolve, reject) => {
      this.#enter(queue, makeCall, bounds, true, refusal, resolve, reject);
    });
    return { decision, isQueueFull: false };
  }

  #queueFor(key: string): Queue {
    return (this.#keepsQueues && this.#queues.get(key)) || new Queue(key);
  }

  #enter(
    queue: Queue,
    makeCall: MakeCall,
    { timeoutMs, signal }: WaitBounds,
    takesRefusal: boolean,
    refusal: LimitedDecision | BlockedDecision | undefined,
    resolve: (decision: Decision) => void,
    reject: (reason: unknown) => void,
  ): void {
    const { clock } = this.#settings;
    const until = clock.nowMicros() + timeoutMs * 1_000;
    const waiter = new Waiter(queue, makeCall, until, signal, takesRefusal, resolve, reject);
    if (signal !== undefined) {
      waiter.stopListening = listenForAbort(signal, () => this.#abort(waiter));
    }
    queue.add(waiter);
    if (this.#keepsQueues) {
      this.#queues.set(queue.key, queue);
    }
    if (queue.first !== waiter) {
      waiter.isFollower = true;
      waiter.stopSleeping = wakeAt(clock, until, () => this.#tooLate(waiter), true);
    } else if (refusal === undefined) {
      this.#serve(queue);
    } else {
      waiter.isBusy = true;
      this.#sleep(waiter, refusal);
    }
  }

  /** Ends all waiting, without further calls. */
  close(reason: RateLimiterError): void {
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    for (const queue of queues) {
      queue.isServed = true;
      while (queue.first !== undefined) {
        this.#reject(queue.first, reason);
      }
    }
  }

  /** Calls for the first of the queue, and for the next ones as long as answers come in the same turn. */
  #serve(queue: Queue): void {
    if (queue.isServed) {
      return;
    }
    queue.isServed = true;
    let { first } = queue;
    while (first !== undefined && !first.isBusy) {
      if (first.signal?.aborted === true) {
        this.#reject(first, first.signal.reason);
      } else if (first.isFollower && this.#settings.clock.nowMicros() > first.until) {
        this.#tooLate(first);
      } else {
        this.#call(first);
      }
      ({ first } = queue);
    }
    queue.isServed = false;
  }

  #call(waiter: Waiter): void {
    waiter.stopSleeping?.();
    waiter.isFollower = false;
    waiter.isBusy = true;
    let isTaken = false;
    const listener: Listener = {
      decided: (decision) => {
        if (!waiter.isDone) {
          isTaken = decision.allowed;
          this.#handleDecision(waiter, decision);
        } else if (decision.allowed && !decision.degraded) {
          this.#settings.giveBack(decision);
        }
      },
      failed: (error) => this.#reject(waiter, error),
      chargedLate: (decision) => {
        if (!isTaken) {
          this.#settings.giveBack(decision);
        }
      },
    };
    waiter.context.runInAsyncScope(waiter.makeCall, undefined, listener);
  }

  #handleDecision(waiter: Waiter, decision: Decision): void {
    if (decision.reason === 'limited' || decision.reason === 'blocked') {
      this.#sleep(waiter, decision);
    } else if (decision.degraded && !decision.allowed && waiter.isPatient) {
      this.#retryLater(waiter, decision);
    } else {
      this.#resolve(waiter, decision);
    }
  }

  #resolve(waiter: Waiter, decision: Decision): void {
    this.#leave(waiter);
    waiter.resolve(decision);
    this.#serve(waiter.queue);
  }

  #sleep(waiter: Waiter, refusal: LimitedDecision | BlockedDecision): void {
    const { clock, isShared } = this.#settings;
    const { retryAfterMs } = refusal;
    const now = clock.nowMicros();
    const opensAt = now + retryAfterMs * 1_000;
    waiter.queue.refusal = refusal;
    if (opensAt > waiter.until) {
      if (waiter.takesRefusal) {
        this.#resolve(waiter, refusal);
      } else {
        this.#reject(waiter, makeTimeoutError(`it would have to wait ${retryAfterMs} ms more`));
      }
      return;
    }
    waiter.retryMs = FIRST_RETRY_MS;
    const jitterMs = isShared ? Math.random() * Math.min(MAX_JITTER_MS, retryAfterMs / 10) : 0;
    this.#callAt(waiter, Math.min(opensAt + Math.floor(jitterMs * 1_000), waiter.until));
  }

  /** The store gave no answer; only another call can tell whether it is back. */
  #retryLater(waiter: Waiter, { error }: DegradedDecision): void {
    const { clock } = this.#settings;
    const retryMs = waiter.retryMs * (0.9 + Math.random() / 10);
    waiter.retryMs = Math.min(LAST_RETRY_MS, waiter.retryMs * 2);
    const at = clock.nowMicros() + Math.ceil(retryMs * 1_000);
    if (at < waiter.until) {
      this.#callAt(waiter, at);
    } else {
      waiter.stopSleeping = wakeAt(
        clock,
        waiter.until,
        () => this.#reject(waiter, makeTimeoutError('the store gives no answer', error)),
        true,
      );
    }
  }

  #callAt(waiter: Waiter, atMicros: number): void {
    const wake = (): void => {
      waiter.isBusy = false;
      this.#serve(waiter.queue);
    };
    waiter.stopSleeping = wakeAt(this.#settings.clock, atMicros, wake, true);
  }

  /** The deadline of a caller that has made no call yet. */
  #tooLate(waiter: Waiter): void {
    if (waiter.takesRefusal) {
      this.#call(waiter);
      return;
    }
    this.#reject(waiter, makeTimeoutError('others of this identity were before it'));
  }

  /** Serves the next waiter in a later microtask: it may be aborted in this turn, too. */
  #abort(waiter: Waiter): void {
    const { queue } = waiter;
    const wasFirst = queue.first === waiter;
    this.#leave(waiter);
    waiter.reject(waiter.signal!.reason);
    if (wasFirst && queue.first !== undefined) {
      void Promise.resolve().then(() => this.#serve(queue));
    }
  }

  #reject(waiter: Waiter, reason: unknown): void {
    if (!waiter.isDone) {
      this.#leave(waiter);
      waiter.reject(reason);
      this.#serve(waiter.queue);
    }
  }

  #leave(waiter: Waiter): void {
    const { queue } = waiter;
    waiter.isDone = true;
    waiter.stopSleeping?.();
    waiter.stopListening?.();
    queue.remove(waiter);
    if (queue.size === 0 && this.#queues.get(queue.key) === queue) {
      this.#queues.delete(queue.key);
    }
  }
}

function makeTimeoutError(why: string, cause?: unknown): RateLimiterError {
  return new RateLimiterError(
    'ERR_WAIT_TIMEOUT',
    `The call did not pass within its \`timeoutMs\`: ${why}. Wait longer, or refuse it.`,
    cause === undefined ? {} : { cause },
  );
}
