import type { Shape } from '../script/call-shape.ts';
import type { AlgorithmName, Limit, Verdict } from '../algorithms/limit.ts';
import type { StoreError, StoreFailure } from './errors.ts';

/** What one limit says of one call. */
export interface LimitState {
  /** The limit's name; `'default'` for the one without. */
  readonly name: string;
  readonly algorithm: AlgorithmName;
  /** The most units that may pass at once: a token bucket's burst, or places. `remaining` never exceeds it. */
  readonly limit: number;
  /** Whole units that could pass right now, or free places, after this decision; never negative. */
  readonly remaining: number;
  /** Milliseconds until the identity is as if never used, under this limit; 0 if it is so now. */
  readonly resetAfterMs: number;
  /** Milliseconds until this cost could pass if nobody else spends; only where this limit refused what it can ever let pass. */
  readonly retryAfterMs?: number;
  /** Whether this limit would have refused by itself. */
  readonly refused: boolean;
  /** Whether this limit only counts and reports, and never makes a call fail. */
  readonly shadow: boolean;
}

/** What the store said. */
export interface Facts {
  /** Each limit's own state, in the order in which the limits were given. */
  readonly limits: readonly LimitState[];
  /** Whole units that could pass right now under all enforced limits: the least of theirs; Infinity where none is. */
  readonly remaining: number;
  /** Milliseconds until the identity is as if never used: the longest of the enforced limits'. */
  readonly resetAfterMs: number;
  /** The same instant on the store's own clock, in Unix milliseconds: the same in every decision until the next charge. */
  readonly resetAtMs: number;
}

/** Nothing is known, and nothing is invented. */
export interface NoFacts {
  readonly limits: readonly [];
  readonly remaining?: undefined;
  readonly resetAfterMs?: undefined;
  readonly resetAtMs?: undefined;
  readonly retryAfterMs?: undefined;
}

/** The call passed, and was charged. */
export interface Allowed extends Facts {
  readonly allowed: true;
  readonly degraded: false;
  readonly reason: 'within_limit';
  readonly retryAfterMs?: undefined;
}

/** The call was refused, and nothing was charged under any limit. */
export interface Limited extends Facts {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'limited';
  /** Milliseconds until this same cost could pass if nobody else spends; rounded up, at least 1. */
  readonly retryAfterMs: number;
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
}

/** The identity is blocked, and the limiter heeds blocks. Nothing was charged. */
export interface Blocked extends Facts {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'blocked';
  /** Milliseconds until neither the block nor a limit stands in the way, if nobody else spends. */
  readonly retryAfterMs: number;
}

/** A limit of a call that the store was not asked about: nothing is known of its state. */
export interface UnaskedLimit
  extends
    Pick<LimitState, 'name' | 'algorithm' | 'limit' | 'shadow'>,
    Partial<Record<'remaining' | 'resetAfterMs' | 'retryAfterMs', undefined>> {
  /** Whether the cost is more than this limit can ever let pass at once. */
  readonly refused: boolean;
}

/** The call asked for more than can ever pass at once: waiting does not help. Nothing was sent to the store. */
export interface Impossible extends Omit<NoFacts, 'limits'> {
  readonly limits: readonly UnaskedLimit[];
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'impossible';
  /** The greatest cost that can pass. */
  readonly maxCost: number;
}

/** Decided without the store, by the failure strategy. */
export interface Degraded extends NoFacts {
  /** True under `failStrategy: 'open'`, false under `'closed'`. */
  readonly allowed: boolean;
  readonly degraded: true;
  readonly reason: StoreFailure;
  readonly error: StoreError;
}

/**
 * The answer to one call.
 *
 * @example
 * const decision = await limiter.allow('user:12345');
 * if (decision.degraded) metrics.degraded.inc();
 * else if (decision.reason === 'limited') setTimeout(retry, decision.retryAfterMs);
 */
export type Decision = Allowed | Limited | Blocked | Impossible | Degraded;

/** A decision that lets its call pass: what `wait` resolves with. */
export type PassedDecision = Allowed | (Degraded & { readonly allowed: true });

/** The answer to `allowUpTo`: a decision, and how many units it lets pass; 0 where it is not allowed. */
export type Grant = Decision & { readonly granted: number };

/**
 * From the verdicts of a call's limits; `now` is the store's clock, in microseconds, `granted` the units that passed
 * of those that `up_to` asked for.
 */
export function decisionOf(
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
      blocked = refused;
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
    const state = {
      name: limit.name,
      algorithm: limit.algorithm,
      limit: limit.capacity,
      remaining: units,
      resetAfterMs: toMs(rests),
      refused,
      shadow: limit.shadow,
    };
    limits.push(
      refused && Math.max(plan.cost, granted) <= limit.capacity
        ? { ...state, retryAfterMs: toMs(opens) }
        : state,
    );
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

/** `maxCost` is the greatest that can pass all limits that are enforced. */
export function impossible(given: readonly Limit[], cost: number, maxCost: number): Impossible {
  const limits = given.map(({ name, algorithm, capacity, shadow }) => ({
    name,
    algorithm: algorithm as AlgorithmName,
    limit: capacity,
    refused: algorithm !== 'concurrency' && cost > capacity,
    shadow,
  }));
  const limitedBy = limits
    .filter(({ refused, shadow }) => refused && !shadow)
    .map(({ name }) => name);
  return { allowed: false, degraded: false, reason: 'impossible', limits, limitedBy, maxCost };
}

export function degraded(allowed: boolean, error: StoreError): Degraded {
  return { allowed, degraded: true, reason: error.reason, limits: [], error };
}

/** Milliseconds are rounded up: what they promise holds once they have passed. */
function toMs(us: number): number {
  return Math.ceil(us / 1_000);
}
