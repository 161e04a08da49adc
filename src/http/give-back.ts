import type { AnyLimiter } from '../limiter/limiter-or-options.ts';
import type { Decision } from '../base/decision.ts';
import type { Lease } from '../limiter/lease.ts';
import { wakeAt } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { clockOf } from '../limiter/limiter-clock.ts';
import type { Finish } from './request-end.ts';

/** The requests that count, and the longest that a request may hold a place. */
export interface GiveBackSettings {
  readonly count: 'all' | 'failures' | 'successes';
  readonly maxHoldMs: number;
}

/**
 * Returns the function to call when an admitted request has ended: it frees the request's place, and refunds a charge
 * that does not count. Undefined if there is neither. A place is freed after `maxHoldMs` at the latest.
 *
 * @param onOverheld called when `maxHoldMs` has freed a place
 */
export function giveBackAfter(
  limiter: AnyLimiter,
  decision: Decision,
  { count, maxHoldMs }: GiveBackSettings,
  onOverheld: () => void,
): Finish | undefined {
  const lease = 'release' in decision ? (decision as Lease) : undefined;
  const held = lease?.leaseId === undefined ? undefined : lease;
  const refundable = count !== 'all' && !decision.degraded;
  if (held === undefined && !refundable) {
    return undefined;
  }
  // If the store gives no answer, `onError` is called; the lease then expires after its `ttl`, and the charge stays.
  const free = (): void => void held?.release().catch(() => {});
  const stopHolding =
    held === undefined
      ? undefined
      : afterHolding(clockOf(limiter), maxHoldMs, () => {
          free();
          onOverheld();
        });
  let ended = false;
  return (end) => {
    if (ended) {
      return;
    }
    ended = true;
    stopHolding?.();
    free();
    if (refundable && end !== 'aborted' && end >= 400 !== (count === 'failures')) {
      limiter.refund(decision).catch(() => {});
    }
  };
}

/** Leases expire on the store's clock, so the longest time of holding one is counted on it, too. */
function afterHolding(clock: Clock, ms: number, call: () => void): () => void {
  return wakeAt(clock, clock.nowMicros() + ms * 1_000, call, false);
}
