import type { AnyLimit } from '../../../src/algorithms/limit.ts';
import type { Decision } from '../../../src/base/decision.ts';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import { makeDecision } from '../../../src/limiter/make-decision.ts';
import { readVerdicts } from '../../../src/script/read-answer.ts';
import { MemoryStore } from '../../../src/stores/memory.ts';
import type { Call } from '../../../src/stores/store.ts';

/** The default of a `RateLimiter`. */
const NAMESPACE = 'rate-limit';
const MOST_STATES = 10_000_000;

/**
 * Decides requests at given times by the library itself: the limits of a `RateLimiter` on a `MemoryStore` whose clock is
 * set by hand. Leaves out what a limiter does around a decision: promises, hooks, counts, outages.
 */
export class Policy {
  readonly limits: readonly AnyLimit[];
  #now = 0;
  readonly #set: LimitSet;
  readonly #store: MemoryStore;

  constructor(limits: readonly AnyLimit[]) {
    const clock = { nowMicros: () => this.#now };
    this.#store = new MemoryStore({ clock, maxKeys: MOST_STATES });
    this.#set = new LimitSet(NAMESPACE, limits, false, { clock });
    this.limits = this.#set.limits;
  }

  /** The key under which Redis would have the caller's state. */
  keyOf(caller: string): string {
    return this.#set.locate(caller, undefined).key;
  }

  /**
   * Decides a request as `allow` does, or tells as `peek` does what it would be answered. Once in a thousand calls the
   * store answers in the next turn of the event loop. Times must not go back.
   */
  decide(verb: 'allow' | 'peek', key: string, atMicros: number): Decision | Promise<Decision> {
    const set = this.#set;
    if (set.isImpossible(1)) {
      return set.impossible(1);
    }
    this.#now = atMicros;
    let answer: Decision | undefined;
    let failure: Error | undefined;
    let wake: (() => void) | undefined;
    const call: Call = {
      key,
      shape: set.shape(verb, 1),
      timeoutMs: 1,
      maxInFlight: 1,
      replans: 0,
      settle(reply, at) {
        const { shape } = call; // the store plans windows again that are over
        answer = makeDecision(shape, 1, readVerdicts(shape, reply, at), reply[0]!, 0);
        wake?.();
      },
      fail(error) {
        failure = error;
        wake?.();
      },
    };
    this.#store.submit(call);
    const end = (): Decision => {
      if (answer === undefined) {
        throw failure!;
      }
      return answer;
    };
    return answer === undefined && failure === undefined
      ? new Promise<void>((resolve) => (wake = resolve)).then(end)
      : end();
  }
}
