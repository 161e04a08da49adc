import { expectTypeOf, test } from 'vitest';
import type {
  AllowedDecision,
  BlockedDecision,
  Decision,
  DegradedDecision,
  ImpossibleDecision,
  LimitedDecision,
  LimitState,
  RateLimiter,
  StoreError,
  StoreFailure,
  UnaskedLimit,
  UnlimitedDecision,
} from 'distributed-rate-limiter';

declare const decision: Decision;
declare const limiter: RateLimiter;

test('an unnarrowed decision has only the fields of every decision', () => {
  expectTypeOf(decision.allowed).toEqualTypeOf<boolean>();
  expectTypeOf(decision.degraded).toEqualTypeOf<boolean>();
  expectTypeOf(decision.reason).toEqualTypeOf<
    'within_limit' | 'unlimited' | 'limited' | 'blocked' | 'impossible' | StoreFailure
  >();
  expectTypeOf(decision.retryAfterMs).toEqualTypeOf<number | undefined>();
  expectTypeOf(decision.remaining).toEqualTypeOf<number | undefined>();
  expectTypeOf(decision.resetAfterMs).toEqualTypeOf<number | undefined>();
  expectTypeOf(decision.resetAtMs).toEqualTypeOf<number | undefined>();
  expectTypeOf(decision.limits).toEqualTypeOf<
    readonly LimitState[] | readonly UnaskedLimit[] | readonly []
  >();
  // @ts-expect-error there is an error only on a degraded one
  void decision.error;
  // @ts-expect-error only a refusal names limits
  void decision.limitedBy;
  // @ts-expect-error only an impossible one has it
  void decision.maxCost;
});

test('the reason narrows the decision', () => {
  switch (decision.reason) {
    case 'within_limit':
      expectTypeOf(decision).toEqualTypeOf<AllowedDecision>();
      expectTypeOf(decision.allowed).toEqualTypeOf<true>();
      expectTypeOf(decision.remaining).toEqualTypeOf<number>();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<undefined>();
      break;
    case 'unlimited':
      expectTypeOf(decision).toEqualTypeOf<UnlimitedDecision>();
      expectTypeOf(decision.allowed).toEqualTypeOf<true>();
      expectTypeOf(decision.limits).toEqualTypeOf<readonly []>();
      expectTypeOf(decision.remaining).toEqualTypeOf<number>();
      expectTypeOf(decision.resetAtMs).toEqualTypeOf<undefined>();
      break;
    case 'limited':
      expectTypeOf(decision).toEqualTypeOf<LimitedDecision>();
      expectTypeOf(decision.allowed).toEqualTypeOf<false>();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<number>();
      expectTypeOf(decision.limitedBy).toEqualTypeOf<readonly string[]>();
      break;
    case 'blocked':
      expectTypeOf(decision).toEqualTypeOf<BlockedDecision>();
      expectTypeOf(decision.allowed).toEqualTypeOf<false>();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<number>();
      break;
    case 'impossible':
      expectTypeOf(decision).toEqualTypeOf<ImpossibleDecision>();
      expectTypeOf(decision.maxCost).toEqualTypeOf<number | Readonly<Record<string, number>>>();
      expectTypeOf(decision.limits).toEqualTypeOf<readonly UnaskedLimit[]>();
      expectTypeOf(decision.limitedBy).toEqualTypeOf<readonly string[]>();
      expectTypeOf(decision.remaining).toEqualTypeOf<undefined>();
      expectTypeOf(decision.resetAtMs).toEqualTypeOf<undefined>();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<undefined>();
      break;
    case 'store_timeout':
    case 'store_away':
    case 'store_error':
    case 'overloaded':
      expectTypeOf(decision).toEqualTypeOf<DegradedDecision>();
      expectTypeOf(decision.allowed).toEqualTypeOf<boolean>();
      expectTypeOf(decision.error).toEqualTypeOf<StoreError>();
      expectTypeOf(decision.remaining).toEqualTypeOf<undefined>();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<undefined>();
      break;
    default:
      expectTypeOf(decision).toEqualTypeOf<never>();
  }
});

test('degraded narrows the decision', () => {
  if (decision.degraded) {
    expectTypeOf(decision).toEqualTypeOf<DegradedDecision>();
    expectTypeOf(decision.reason).toEqualTypeOf<StoreFailure>();
  } else {
    expectTypeOf(decision).toEqualTypeOf<
      AllowedDecision | UnlimitedDecision | LimitedDecision | BlockedDecision | ImpossibleDecision
    >();
    if (decision.allowed) {
      expectTypeOf(decision).toEqualTypeOf<AllowedDecision | UnlimitedDecision>();
    } else {
      expectTypeOf(decision).toEqualTypeOf<
        LimitedDecision | BlockedDecision | ImpossibleDecision
      >();
      expectTypeOf(decision.retryAfterMs).toEqualTypeOf<number | undefined>();
    }
  }
});

test('a defined time narrows the decision to one with facts', () => {
  if (decision.retryAfterMs !== undefined) {
    expectTypeOf(decision).toEqualTypeOf<LimitedDecision | BlockedDecision>();
  }
  if (decision.remaining !== undefined) {
    expectTypeOf(decision).toEqualTypeOf<
      AllowedDecision | UnlimitedDecision | LimitedDecision | BlockedDecision
    >();
  }
  if (decision.resetAtMs !== undefined) {
    expectTypeOf(decision).toEqualTypeOf<AllowedDecision | LimitedDecision | BlockedDecision>();
  }
});

test('a decision is read-only', () => {
  expectTypeOf<Decision['limits']>().not.toExtend<LimitState[]>();
  // @ts-expect-error it is read-only
  decision.allowed = true;
  if (decision.reason === 'limited') {
    // @ts-expect-error it is read-only
    decision.retryAfterMs = 0;
    // @ts-expect-error it is read-only
    decision.limits.length = 0;
  }
});

test('every verb returns its own type of decision', () => {
  expectTypeOf(limiter.allow('user')).toEqualTypeOf<Promise<Decision<never>>>();
  expectTypeOf(limiter.peek(['org', 'user'], { cost: 2 })).toEqualTypeOf<
    Promise<Decision<never>>
  >();
  expectTypeOf(limiter.reset('user')).toEqualTypeOf<Promise<void>>();
  expectTypeOf(limiter.ready()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(limiter.close()).toEqualTypeOf<Promise<void>>();
  expectTypeOf(limiter[Symbol.asyncDispose]()).toEqualTypeOf<Promise<void>>();
  // @ts-expect-error who is limited must be said
  void limiter.allow();
  void limiter.allow(5);
  void limiter.allow(5n);
  void limiter.allow(['acme', 5, 5n]);
  // @ts-expect-error an object is no identity
  void limiter.allow(new Date());
  // @ts-expect-error nobody is no identity
  void limiter.allow(undefined);
  // @ts-expect-error costs are numbers
  void limiter.allow('user', { cost: '2' });
  // @ts-expect-error costs are numbers
  void limiter.allow('user', { cost: 2n });
  // @ts-expect-error misspelt
  void limiter.allow('user', { costs: 2 });
  // @ts-expect-error limits are made by tokenBucket
  void limiter.allow('user', { limits: [{ rate: 5, period: '1m' }] });
  // @ts-expect-error a reset has no cost
  void limiter.reset('user', { cost: 2 });
});
