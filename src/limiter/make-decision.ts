import type { Limit, Verdict } from '../algorithms/limit.ts';
import type {
  AlgorithmName,
  Cost,
  Decision,
  DecisionFacts,
  DecisionSource,
  DegradedDecision,
  ImpossibleDecision,
  LimitState,
  UnlimitedDecision,
} from '../base/decision.ts';
import type { StoreError } from '../base/errors.ts';
import type { Shape } from '../script/call-shape.ts';

/**
 * Makes a decision from the verdicts of a call's limits. `now` is the store's time in microseconds; `granted` is the
 * number of units that passed under `up_to`, and `source` says where the verdicts were made.
 */
export function makeDecision(
  shape: Shape,
  cost: Cost,
  verdicts: readonly Verdict[],
  now: number,
  granted: number,
  source: Exclude<DecisionSource, 'none'> = 'store',
): Decision {
  const limits: LimitState[] = [];
  let remaining = Number.POSITIVE_INFINITY;
  let resetUs = 0;
  let retryUs = 0;
  let limitedBy: string[] | undefined;
  let blocked = false;
  let bannedUs = 0;
  let first: LimitState | undefined;
  const { rules, asks } = shape;
  for (let i = 0; i < verdicts.length; i++) {
    const { limit, plan, unit, quotaAt } = rules[i]!;
    if (limit.algorithm === 'provider_quota') {
      continue; // part of its limit's verdict
    }
    const verdict = verdicts[i]!;
    const {
      refused,
      remaining: units,
      over,
      resetUs: rests,
      retryUs: opens,
    } = quotaAt === undefined ? verdict : stricter(verdict, verdicts[quotaAt]!);
    if (limit.algorithm === 'block') {
      blocked ||= refused;
      retryUs = Math.max(retryUs, opens);
      continue;
    }
    if (limit.algorithm === 'ban') {
      if (rests > 0) {
        const banning: Writable<LimitState> = limits.find(({ name }) => name === limit.name)!;
        banning.bannedForMs = toMs(rests);
        bannedUs = Math.max(bannedUs, limit.shadow ? 0 : rests);
      }
      continue;
    }
    if (asks[i] === null) {
      continue;
    }
    const state: Writable<LimitState> = {
      name: limit.name,
      algorithm: limit.algorithm,
      limit: limit.capacity,
      remaining: units,
      used: limit.capacity - units + over,
      resetAfterMs: toMs(rests),
      refused,
      shadow: limit.shadow,
    };
    if (limit.by !== undefined) {
      state.by = limit.by;
    }
    if (unit !== undefined) {
      state.unit = unit;
    }
    if (refused && Math.max(plan.cost, granted) <= limit.capacity) {
      state.retryAfterMs = toMs(opens);
    }
    limits.push(state);
    if (!limit.shadow) {
      remaining = Math.min(remaining, units);
      resetUs = Math.max(resetUs, rests);
      if (refused) {
        retryUs = Math.max(retryUs, opens);
        (limitedBy ??= []).push(limit.name);
      }
      if (first === undefined || isFeltBefore(state, first)) {
        first = state;
      }
    }
  }
  if (limits.length === 0 && !blocked) {
    return makeUnlimitedDecision(cost, 'store');
  }
  const resetAfterMs = toMs(resetUs);
  const resetAtMs = toMs(now + resetUs);
  const passes = !blocked && limitedBy === undefined;
  if (passes && first !== undefined && first.unit === undefined) {
    // The usual decision in one literal: made in parts, it takes three times as long.
    return {
      allowed: true,
      degraded: false,
      reason: 'within_limit',
      source,
      cost,
      limits,
      remaining,
      resetAfterMs,
      resetAtMs,
      limitName: first.name,
      limit: first.limit,
      used: first.used,
    };
  }
  const facts: Writable<DecisionFacts> = {
    source,
    cost,
    limits,
    remaining,
    resetAfterMs,
    resetAtMs,
  };
  if (first !== undefined) {
    facts.limitName = first.name;
    facts.limit = first.limit;
    facts.used = first.used;
    if (first.unit !== undefined) {
      facts.unit = first.unit;
      facts.remaining = first.remaining;
    }
  }
  if (passes) {
    return { allowed: true, degraded: false, reason: 'within_limit', ...facts };
  }
  const retryAfterMs = toMs(Math.max(retryUs, bannedUs));
  return limitedBy === undefined || blocked
    ? { allowed: false, degraded: false, reason: 'blocked', ...facts, retryAfterMs, remaining: 0 }
    : {
        allowed: false,
        degraded: false,
        reason: 'limited',
        ...facts,
        retryAfterMs,
        limitedBy,
        ...(bannedUs > 0 ? { bannedForMs: toMs(bannedUs) } : {}),
      };
}

/** The verdict of a limit and of what its provider says is left: both must let a call pass. */
function stricter(one: Verdict, other: Verdict): Verdict {
  return {
    refused: one.refused || other.refused,
    remaining: Math.min(one.remaining, other.remaining),
    over: one.over,
    resetUs: Math.max(one.resetUs, other.resetUs),
    retryUs: Math.max(one.retryUs, other.retryUs),
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Whether a caller feels one limit before the other: the one that refused for longest, else the one with the least left.
 * Units of different kinds are compared as parts of their limits. The order of the limits does not matter.
 */
function isFeltBefore(one: LimitState, other: LimitState): boolean {
  const difference =
    (other.retryAfterMs ?? -1) - (one.retryAfterMs ?? -1) ||
    (one.unit === undefined ? one.remaining - other.remaining : 0) ||
    partLeft(one) - partLeft(other);
  return difference === 0 ? one.name < other.name : difference < 0;
}

function partLeft({ remaining, limit }: LimitState): number {
  return limit === 0 ? 0 : remaining / limit;
}

/** A limit of an impossible call, whether it refused, and what it counts. */
interface Refusing {
  readonly limit: Limit;
  readonly refused: boolean;
  readonly unit?: string;
}

/** `maxCost` is the greatest cost that can pass all enforced limits. */
export function makeImpossibleDecision(
  asked: readonly Refusing[],
  cost: Cost,
  maxCost: Cost,
): ImpossibleDecision {
  const limits = asked.map(
    ({ limit: { name, algorithm, by, capacity, shadow }, refused, unit }) => ({
      name,
      algorithm: algorithm as AlgorithmName,
      ...(by === undefined ? {} : { by }),
      ...(unit === undefined ? {} : { unit }),
      limit: capacity,
      refused,
      shadow,
    }),
  );
  const limitedBy = limits
    .filter(({ refused, shadow }) => refused && !shadow)
    .map(({ name }) => name);
  return {
    allowed: false,
    degraded: false,
    reason: 'impossible',
    source: 'none',
    cost,
    limits,
    limitedBy,
    maxCost,
  };
}

/** The decision on a call that asks no limit, without a block. */
export function makeUnlimitedDecision(
  cost: Cost,
  source: UnlimitedDecision['source'] = 'none',
): UnlimitedDecision {
  return {
    allowed: true,
    degraded: false,
    reason: 'unlimited',
    source,
    cost,
    limits: [],
    remaining: Number.POSITIVE_INFINITY,
    resetAfterMs: 0,
  };
}

export function makeDegradedDecision(
  allowed: boolean,
  error: StoreError,
  cost: Cost,
): DegradedDecision {
  return { allowed, degraded: true, reason: error.reason, source: 'none', cost, limits: [], error };
}

/** Rounds up to milliseconds, so that the announced instant is never too early. */
function toMs(us: number): number {
  return Math.ceil(us / 1_000);
}
