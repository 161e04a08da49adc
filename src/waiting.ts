import type { Decision } from './decision.ts';
import { RateLimiterError } from './errors.ts';

/** A timer of more milliseconds than this fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
/** So that processes which wait for one identity do not all ask in the same millisecond. */
const MAX_JITTER_MS = 50;

export interface WaitBounds {
  /** How long a caller waits at most; Infinity for as long as it takes. */
  readonly timeoutMs: number;
  /** How many callers may wait behind the first of their identity. */
  readonly maxQueue: number;
  readonly signal: AbortSignal | undefined;
}

interface Waiter {
  readonly ask: () => Promise<Decision>;
  readonly until: number;
  readonly resolve: (decision: Decision) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  timer: NodeJS.Timeout | undefined;
  done: boolean;
}

/**
 * Lets callers wait for their turn: first come, first served for each identity within this process. Only the first
 * of an identity's queue asks the store; it sleeps for as long as the answer says, and asks again.
 */
export class Waiting {
  readonly #queues = new Map<string, Waiter[]>();

  /** Asks until waiting cannot change the answer. `key` says whose queue it is. */
  wait(key: string, ask: () => Promise<Decision>, bounds: WaitBounds): Promise<Decision> {
    const { timeoutMs, maxQueue, signal } = bounds;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const queue = this.#queues.get(key) ?? [];
      if (queue.length > maxQueue) {
        throw new RateLimiterError(
          'ERR_WAIT_QUEUE_FULL',
          `${maxQueue} calls of this identity wait already behind the first, as many as \`maxQueue\` allows. Refuse this one, or raise \`maxQueue\`.`,
        );
      }
      const until = performance.now() + timeoutMs;
      const waiter: Waiter = {
        ask,
        until,
        resolve,
        reject,
        signal,
        onAbort: undefined,
        timer: undefined,
        done: false,
      };
      if (signal !== undefined) {
        waiter.onAbort = () => this.#reject(key, waiter, signal.reason);
        signal.addEventListener('abort', waiter.onAbort);
      }
      queue.push(waiter);
      this.#queues.set(key, queue);
      if (queue.length === 1) {
        this.#ask(key, waiter);
      } else {
        sleepUntil(until, waiter, () =>
          this.#reject(key, waiter, timedOut('others of this identity were before it')),
        );
      }
    });
  }

  /** Ends all waiting. */
  close(reason: RateLimiterError): void {
    for (const [key, queue] of this.#queues) {
      for (const waiter of queue.toReversed()) {
        this.#reject(key, waiter, reason);
      }
    }
  }

  #ask(key: string, waiter: Waiter): void {
    clearTimeout(waiter.timer);
    waiter.ask().then(
      (decision) => this.#heed(key, waiter, decision),
      (error: unknown) => this.#reject(key, waiter, error),
    );
  }

  #heed(key: string, waiter: Waiter, decision: Decision): void {
    if (waiter.done) {
      return;
    }
    if (decision.reason !== 'limited' && decision.reason !== 'blocked') {
      this.#leave(key, waiter);
      waiter.resolve(decision);
      return;
    }
    const { retryAfterMs } = decision;
    const now = performance.now();
    if (now + retryAfterMs > waiter.until) {
      this.#reject(key, waiter, timedOut(`it would have to wait ${retryAfterMs} ms more`));
      return;
    }
    const jitter = Math.random() * Math.min(MAX_JITTER_MS, retryAfterMs / 10);
    sleepUntil(now + retryAfterMs + jitter, waiter, () => this.#ask(key, waiter));
  }

  #reject(key: string, waiter: Waiter, reason: unknown): void {
    if (!waiter.done) {
      this.#leave(key, waiter);
      waiter.reject(reason);
    }
  }

  #leave(key: string, waiter: Waiter): void {
    waiter.done = true;
    clearTimeout(waiter.timer);
    if (waiter.onAbort !== undefined) {
      waiter.signal?.removeEventListener('abort', waiter.onAbort);
    }
    const queue = this.#queues.get(key)!;
    const place = queue.indexOf(waiter);
    queue.splice(place, 1);
    if (queue.length === 0) {
      this.#queues.delete(key);
    } else if (place === 0) {
      this.#ask(key, queue[0]!);
    }
  }
}

/** In pieces, and a millisecond longer than asked: a timer may fire up to one early. */
function sleepUntil(until: number, waiter: Waiter, wake: () => void): void {
  const ms = until - performance.now();
  if (ms <= 0) {
    wake();
  } else {
    waiter.timer = setTimeout(sleepUntil, Math.min(ms + 1, LONGEST_TIMER), until, waiter, wake);
  }
}

function timedOut(why: string): RateLimiterError {
  return new RateLimiterError(
    'ERR_WAIT_TIMEOUT',
    `The call did not pass within its \`timeoutMs\`: ${why}. Wait longer, or refuse it.`,
  );
}
