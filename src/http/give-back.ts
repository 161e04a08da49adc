import type { AnyLimiter } from '../limiter/limiter-or-options.ts';
import type { Decision } from '../base/decision.ts';
import type { Lease } from '../limiter/lease.ts';
import { wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { isPromise } from '../base/is-promise.ts';
import { clockOf } from '../limiter/limiter-clock.ts';
import type { EndedResponse, Finish } from './request-end.ts';

type OrPromise<T> = T | Promise<T>;

/** What is given back when a request has ended. */
export interface GiveBackSettings {
  /** Says which responses count; undefined if all do. */
  readonly counts: ((response: EndedResponse) => OrPromise<boolean>) | undefined;
  /** The longest that a request may hold a place. */
  readonly maxHoldMs: number;
  /** Called when `maxHoldMs` has freed a place. */
  readonly onOverheld: () => void;
  /** Called when `counts` has failed. The charge then stays. */
  readonly onCountFailed: () => void;
  /** Takes a promise of everything that is done for this request after its response. It never rejects. */
  readonly keepAlive: ((work: Promise<void>) => void) | undefined;
}

/**
 * Returns the function to call when an admitted request has ended: it frees the request's place, and refunds a charge
 * that does not count. Undefined if there is neither. A place is freed after `maxHoldMs` at the latest.
 */
export function giveBackAfter(
  limiter: AnyLimiter,
  decision: Decision,
  { counts, maxHoldMs, onOverheld, onCountFailed, keepAlive }: GiveBackSettings,
): Finish | undefined {
  const lease = 'release' in decision ? (decision as Lease) : undefined;
  const held = lease?.leaseId === undefined ? undefined : lease;
  const countsOf = decision.degraded ? undefined : counts;
  if (held === undefined && countsOf === undefined) {
    return undefined;
  }
  let resolveDone: (() => void) | undefined;
  keepAlive?.(
    new Promise((resolve) => {
      resolveDone = resolve;
    }),
  );
  // If the store gives no answer, `onError` is called; the lease then expires after its `ttl`, and the charge stays.
  const free = async (): Promise<unknown> => held?.release().catch(() => {});
  const stopHolding =
    held === undefined
      ? undefined
      : afterHolding(clockOf(limiter), maxHoldMs, () => {
          void free();
          onOverheld();
        });
  const refund = async (): Promise<unknown> => limiter.refund(decision).catch(() => {});
  const settle = (end: EndedResponse): OrPromise<unknown> => {
    try {
      const counted = countsOf!(end);
      return isPromise(counted)
        ? Promise.resolve(counted)
            .then((late) => checked(late) || refund())
            .catch(onCountFailed)
        : checked(counted) || refund();
    } catch {
      onCountFailed();
      return undefined;
    }
  };
  let ended = false;
  return (end, response) => {
    if (ended) {
      return;
    }
    ended = true;
    stopHolding?.();
    const freed = free();
    const settled =
      countsOf === undefined || end === 'aborted' ? undefined : settle({ status: end, response });
    if (resolveDone !== undefined) {
      void Promise.all([freed, settled]).then(resolveDone);
    }
  };
}

/** Leases expire on the store's clock, so the longest time of holding one is counted on it, too. */
function afterHolding(clock: Clock, ms: number, call: () => void): () => void {
  return wakeAt(clock, clock.nowMicros() + ms * 1_000, call, false);
}

/** @throws {TypeError} for anything but true and false: a forgotten `return` must not make every request free */
function checked(counted: unknown): boolean {
  if (typeof counted !== 'boolean') {
    throw new TypeError('It must return true or false.');
  }
  return counted;
}
