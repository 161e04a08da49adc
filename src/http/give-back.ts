import type { Decision } from '../base/decision.ts';
import type { Lease } from '../limiter/lease.ts';
import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { clearTimeout, setTimeout } from '../base/timers.ts';
import type { Finish } from './request-end.ts';

/** Which requests count, and for how long one may hold a place. */
export interface GiveBackSettings {
  readonly count: 'all' | 'failures' | 'successes';
  readonly maxHoldMs: number;
}

/**
 * What to call when a request that was let through has ended: frees its place, and gives back a charge that does not
 * count. Undefined where there is neither. A place is freed after `maxHoldMs` at the latest.
 *
 * @param onOverheld called when `maxHoldMs` has freed a place
 */
export function giveBackAfter(
  limiter: RateLimiter,
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
  // Where the store does not answer, `onError` is told; the lease then ends by its `ttl`, and the charge stays.
  const free = (): void => void held?.release().catch(() => {});
  const bound =
    held === undefined
      ? undefined
      : setTimeout(() => {
          free();
          onOverheld();
        }, maxHoldMs).unref();
  let ended = false;
  return (end) => {
    if (ended) {
      return;
    }
    ended = true;
    clearTimeout(bound);
    free();
    if (refundable && end !== 'aborted' && end >= 400 !== (count === 'failures')) {
      limiter.refund(decision).catch(() => {});
    }
  };
}
