import type { StoreError, StoreFailure } from './errors.ts';

/** Algorithm names, as they stand in options and in keys. */
export type AlgorithmName =
  | 'token_bucket'
  | 'sliding_window'
  | 'sliding_window_log'
  | 'fixed_window'
  | 'concurrency';

/** What a call is answered when the store gives no answer: `true`, `false`, or a rejection with the error. */
export type FailStrategy = 'open' | 'closed' | 'throw';

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
export interface DecisionFacts {
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
export interface NoDecisionFacts {
  readonly limits: readonly [];
  readonly remaining?: undefined;
  readonly resetAfterMs?: undefined;
  readonly resetAtMs?: undefined;
  readonly retryAfterMs?: undefined;
}

/** The call passed, and was charged. */
export interface AllowedDecision extends DecisionFacts {
  readonly allowed: true;
  readonly degraded: false;
  readonly reason: 'within_limit';
  readonly retryAfterMs?: undefined;
}

/** The call was refused, and nothing was charged under any limit. */
export interface LimitedDecision extends DecisionFacts {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'limited';
  /** Milliseconds until this same cost could pass if nobody else spends; rounded up, at least 1. */
  readonly retryAfterMs: number;
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
}

/** The identity is blocked, and the limiter heeds blocks. Nothing was charged. */
export interface BlockedDecision extends DecisionFacts {
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
export interface ImpossibleDecision extends Omit<NoDecisionFacts, 'limits'> {
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
export interface DegradedDecision extends NoDecisionFacts {
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
export type Decision =
  | AllowedDecision
  | LimitedDecision
  | BlockedDecision
  | ImpossibleDecision
  | DegradedDecision;

/** A decision that lets its call pass: what `wait` resolves with. */
export type PassedDecision = AllowedDecision | (DegradedDecision & { readonly allowed: true });

/** The answer to `allowUpTo`: a decision, and how many units it lets pass; 0 where it is not allowed. */
export type GrantDecision = Decision & { readonly granted: number };
