import type { Limit, Verdict } from '../algorithms/limit.ts';
import type {
  AlgorithmName,
  Decision,
  DegradedDecision,
  ImpossibleDecision,
  LimitState,
  UnlimitedDecision,
} from '../base/decision.ts';
import type { StoreError } from '../base/errors.ts';
import type { Shape } from '../script/call-shape.ts';

/**
 * Makes a decision from the verdicts of a call's limits. `now` is the store's time in microseconds; `granted` is the
 * number of units that passed under `up_to`.
 */
export function makeDecision(
  { rules }: Shape,
  verdicts: readonly Verdict[],
  now: number,
  granted: number,
): Decision {
  const limits: LimitState[] = [];
  let remaining = Number.POSITIVE_INFINITY;
  let resetUs = 0;
  let retryUs = 0;
  let limitedBy: string[] | undefined;
  let blocked = false;
  for (let i = 0; i < verdicts.length; i++) {
    const { limit, plan } = rules[i]!;
    const { refused, remaining: units, resetUs: rests, retryUs: opens } = verdicts[i]!;
    if (limit.algorithm === 'block') {
      blocked ||= refused;
      retryUs = Math.max(retryUs, opens);
      continue;
    }
    if (!limit.shadow) {
      remaining = Math.min(remaining, units);
      resetUs = Math.max(resetUs, rests);
      if (refused) {
        retryUs = Math.max(retryUs, opens);
        (limitedBy ??= []).push(limit.name);
      }
    }
    const facts = {
      name: limit.name,
      algorithm: limit.algorithm,
      limit: limit.capacity,
      remaining: units,
      resetAfterMs: toMs(rests),
      refused,
      shadow: limit.shadow,
    };
    const state = limit.by === undefined ? facts : { ...facts, by: limit.by };
    limits.push(
      refused && Math.max(plan.cost, granted) <= limit.capacity
        ? { ...state, retryAfterMs: toMs(opens) }
        : state,
    );
  }
  if (limits.length === 0 && !blocked) {
    return makeUnlimitedDecision();
  }
  const resetAfterMs = toMs(resetUs);
  const resetAtMs = toMs(now + resetUs);
  if (!blocked && limitedBy === undefined) {
    return {
      allowed: true,
      degraded: false,
      reason: 'within_limit',
      limits,
      remaining,
      resetAfterMs,
      resetAtMs,
    };
  }
  const facts = { limits, resetAfterMs, resetAtMs, retryAfterMs: toMs(retryUs) };
  return limitedBy === undefined || blocked
    ? { allowed: false, degraded: false, reason: 'blocked', ...facts, remaining: 0 }
    : { allowed: false, degraded: false, reason: 'limited', ...facts, remaining, limitedBy };
}

/** `maxCost` is the greatest cost that can pass all enforced limits. */
export function makeImpossibleDecision(
  given: readonly Limit[],
  cost: number,
  maxCost: number,
): ImpossibleDecision {
  const limits = given.map(({ name, algorithm, by, capacity, shadow }) => ({
    name,
    algorithm: algorithm as AlgorithmName,
    ...(by === undefined ? {} : { by }),
    limit: capacity,
    refused: algorithm !== 'concurrency' && cost > capacity,
    shadow,
  }));
  const limitedBy = limits
    .filter(({ refused, shadow }) => refused && !shadow)
    .map(({ name }) => name);
  return { allowed: false, degraded: false, reason: 'impossible', limits, limitedBy, maxCost };
}

/** The decision on a call without a limit and without a block. */
export function makeUnlimitedDecision(): UnlimitedDecision {
  return {
    allowed: true,
    degraded: false,
    reason: 'unlimited',
    limits: [],
    remaining: Number.POSITIVE_INFINITY,
    resetAfterMs: 0,
  };
}

export function makeDegradedDecision(allowed: boolean, error: StoreError): DegradedDecision {
  return { allowed, degraded: true, reason: error.reason, limits: [], error };
}

/** Rounds up to milliseconds, so that the announced instant is never too early. */
function toMs(us: number): number {
  return Math.ceil(us / 1_000);
}
