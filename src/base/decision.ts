import type { StoreError, StoreFailure } from './errors.ts';

/** Algorithm names, as used in options and keys. */
export type AlgorithmName =
  | 'token_bucket'
  | 'sliding_window'
  | 'sliding_window_log'
  | 'fixed_window'
  | 'concurrency';

/** How a call is answered when the store gives no answer: allowed, refused, or rejected with the store's error. */
export type FailStrategy = 'open' | 'closed' | 'throw';

/**
 * Where a decision was made. `store`: by a script call. `slice`: by units that a script call charged beforehand.
 * `deny_cache`: by a refusal of the store that still holds. `none`: without a state, since the call is impossible,
 * degraded, or asks no limit.
 */
export type DecisionSource = 'store' | 'slice' | 'deny_cache' | 'none';

/** Units by what limits count, for limits with units: `{ calls: 1, tokens: 1200 }`. */
export type CostByName<Unit extends string = string> = Readonly<
  Partial<Record<Unit | 'calls', number>>
>;

/** A call's cost: a number, or units by name in a limiter whose limits have units. */
export type Cost<Unit extends string = string> = [Unit] extends [never]
  ? number
  : string extends Unit
    ? number | Readonly<Record<string, number>>
    : CostByName<Unit>;

/** A cost as a call gives it: a number, or units by name in a limiter whose limits have units; 0 asks for nothing. */
export type GivenCost<Unit extends string = string> =
  | Cost<Unit>
  | ([Unit] extends [never] ? never : 0);

/** Units of one kind, as `allowUpTo` takes them. */
export type GivenUnits<Unit extends string = string> = [Unit] extends [never]
  ? number
  : string extends Unit
    ? number | Readonly<Record<string, number>>
    : | {
          [One in Unit | 'calls']: Readonly<Record<One, number>> &
            Readonly<Partial<Record<Exclude<Unit | 'calls', One>, never>>>;
        }[Unit | 'calls']
      | 0;

/** One limit's state after one call. */
export interface LimitState {
  /** The limit's name; `'default'` for the unnamed limit. */
  readonly name: string;
  readonly algorithm: AlgorithmName;
  /** The parts of the identity that the limit counts by, sorted; absent if it counts by whole identities. */
  readonly by?: readonly string[];
  /** What the limit counts; only in a limiter with units. */
  readonly unit?: string;
  /** The most units that may pass at once: a token bucket's burst, or places. `remaining` never exceeds it. */
  readonly limit: number;
  /** Whole units that could pass now, or free places, after this decision; never negative. */
  readonly remaining: number;
  /**
   * Whole units that count against `limit` after this decision, or places taken: `limit - remaining`, and more than
   * `limit` where units are owed or places are taken beyond a lowered `max`. 0 if the identity is unused.
   */
  readonly used: number;
  /** Milliseconds until the identity is unused again under this limit; 0 if it is unused now. */
  readonly resetAfterMs: number;
  /**
   * Milliseconds until this cost could pass if no other call spends; only if this limit refused a cost that it can
   * ever let pass.
   */
  readonly retryAfterMs?: number;
  /** Milliseconds for which this call's refusal starts a ban; for a shadow, would start one. Absent if it starts none. */
  readonly bannedForMs?: number;
  /** Whether this limit alone would have refused. */
  readonly refused: boolean;
  /** Whether this limit only counts and reports, and never refuses a call. */
  readonly shadow: boolean;
}

/** What every decision says of its call. */
interface Costed<Unit extends string> {
  /** The cost that was asked for: a number, or units by name where limits have units. */
  readonly cost: Cost<Unit>;
}

/**
 * The store's answer. `limitName`, `limit`, `unit` and `remaining` speak of one limit: of those that refused the one
 * with the longest wait, else the enforced one with the least left.
 */
export interface DecisionFacts<Unit extends string = string> extends Costed<Unit> {
  /** Where the decision was made. */
  readonly source: Exclude<DecisionSource, 'none'>;
  /** Each limit's own state, in the order in which the limits were given. */
  readonly limits: readonly LimitState[];
  /** The name of that limit; absent if none is enforced. */
  readonly limitName?: string;
  /** The most units that may pass at once under it. */
  readonly limit?: number;
  /**
   * Whole units that count against `limit` after this decision, debt included; absent if no limit is enforced. A block
   * does not change it.
   */
  readonly used?: number;
  /** What it counts; only in a limiter with units. */
  readonly unit?: string;
  /**
   * Whole units that could pass now; Infinity if no limit is enforced. Without units the minimum of all enforced limits;
   * with units that of the one limit with the smallest part of its capacity left.
   */
  readonly remaining: number;
  /** Milliseconds until the identity is unused again: the maximum over the enforced limits. */
  readonly resetAfterMs: number;
  /** The instant of `resetAfterMs` on the store's clock, in Unix milliseconds; constant until the next charge. */
  readonly resetAtMs: number;
}

/** Takes the place of `DecisionFacts` where the store's state is unknown. */
export interface NoDecisionFacts<Unit extends string = string> extends Costed<Unit> {
  readonly source: 'none';
  readonly limits: readonly [];
  readonly limitName?: undefined;
  readonly limit?: undefined;
  readonly used?: undefined;
  readonly unit?: undefined;
  readonly remaining?: undefined;
  readonly resetAfterMs?: undefined;
  readonly resetAtMs?: undefined;
  readonly retryAfterMs?: undefined;
}

/** The call passed, and its cost was charged. */
export interface AllowedDecision<Unit extends string = string> extends DecisionFacts<Unit> {
  readonly allowed: true;
  readonly degraded: false;
  readonly reason: 'within_limit';
  readonly retryAfterMs?: undefined;
}

/** The call was made with `limits: []`, the plan without a limit, and passed. Nothing was charged. */
export interface UnlimitedDecision<Unit extends string = string> extends Costed<Unit> {
  readonly allowed: true;
  readonly degraded: false;
  readonly reason: 'unlimited';
  /** `store` if the store was asked for a block. */
  readonly source: 'store' | 'none';
  readonly limits: readonly [];
  /** Infinity. */
  readonly remaining: number;
  /** 0. */
  readonly resetAfterMs: number;
  readonly limitName?: undefined;
  readonly limit?: undefined;
  readonly used?: undefined;
  readonly unit?: undefined;
  readonly resetAtMs?: undefined;
  readonly retryAfterMs?: undefined;
}

/** The call was refused, and nothing was charged under any limit. */
export interface LimitedDecision<Unit extends string = string> extends DecisionFacts<Unit> {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'limited';
  /**
   * Milliseconds until the same cost could pass if no other call spends, and a ban that this refusal starts is over;
   * rounded up, at least 1.
   */
  readonly retryAfterMs: number;
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
  /** Milliseconds for which this refusal starts a ban, so that later calls are blocked; absent if it starts none. */
  readonly bannedForMs?: number;
}

/** The identity is blocked, by a ban or by `block`, and the limiter has `blocks: true`. Nothing was charged. */
export interface BlockedDecision<Unit extends string = string> extends DecisionFacts<Unit> {
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'blocked';
  /** Milliseconds until neither the block nor a limit refuses the call, if no other call spends. */
  readonly retryAfterMs: number;
}

/** A limit whose state is unknown, because the call was not sent to the store. */
export interface UnaskedLimit
  extends
    Pick<LimitState, 'name' | 'algorithm' | 'by' | 'unit' | 'limit' | 'shadow'>,
    Partial<Record<'remaining' | 'used' | 'resetAfterMs' | 'retryAfterMs', undefined>> {
  /** Whether the cost exceeds what this limit can ever let pass at once. */
  readonly refused: boolean;
}

/** The cost exceeds what can ever pass at once, so waiting does not help. Nothing was sent to the store. */
export interface ImpossibleDecision<Unit extends string = string> extends Omit<
  NoDecisionFacts<Unit>,
  'limits'
> {
  readonly limits: readonly UnaskedLimit[];
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
  readonly allowed: false;
  readonly degraded: false;
  readonly reason: 'impossible';
  /** The greatest cost that can pass; by name where limits have units. */
  readonly maxCost: Cost<Unit>;
}

/** Decided without the store, by the failure strategy. */
export interface DegradedDecision<Unit extends string = string> extends NoDecisionFacts<Unit> {
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
export type Decision<Unit extends string = string> =
  | AllowedDecision<Unit>
  | UnlimitedDecision<Unit>
  | LimitedDecision<Unit>
  | BlockedDecision<Unit>
  | ImpossibleDecision<Unit>
  | DegradedDecision<Unit>;

/** A decision that lets its call pass: the result of `wait`. */
export type PassedDecision<Unit extends string = string> =
  | AllowedDecision<Unit>
  | UnlimitedDecision<Unit>
  | (DegradedDecision<Unit> & { readonly allowed: true });

/** The answer to `allowUpTo`: a decision, and the number of units that it lets pass; 0 if refused. */
export type GrantDecision<Unit extends string = string> = Decision<Unit> & {
  readonly granted: number;
};
