export { RateLimiter } from './limiter/rate-limiter.ts';
export type { LimiterOf } from './limiter/rate-limiter.ts';
export { concurrency } from './algorithms/concurrency.ts';
export { fixedWindow } from './algorithms/fixed-window.ts';
export { slidingWindow } from './algorithms/sliding-window.ts';
export { slidingWindowLog } from './algorithms/sliding-window-log.ts';
export { tokenBucket } from './algorithms/token-bucket.ts';
export { MemoryStore } from './stores/memory.ts';
export { RateLimiterError, StoreError } from './base/errors.ts';
export { RateLimitExceeded } from './limiter/rate-limit-exceeded.ts';

export type { BanOptions } from './algorithms/ban-options.ts';
export type { CalendarUnit, Weekday } from './algorithms/calendar.ts';
export type { ConcurrencyOptions } from './algorithms/concurrency.ts';
export type { FixedWindowOptions } from './algorithms/fixed-window.ts';
export type { AnyLimit, Limit, LimitOptions } from './algorithms/limit.ts';
export type { AlgorithmName } from './base/decision.ts';
export type { SlidingWindowOptions } from './algorithms/sliding-window.ts';
export type { SlidingWindowLogOptions } from './algorithms/sliding-window-log.ts';
export type { TokenBucketOptions } from './algorithms/token-bucket.ts';
export type {
  AcquireOptions,
  CallOptions,
  ReserveOptions,
  WaitOptions,
} from './limiter/call-options.ts';
export type { Clock } from './base/clock.ts';
export type {
  AllowedDecision,
  BlockedDecision,
  Cost,
  CostByName,
  Decision,
  DegradedDecision,
  DecisionFacts,
  DecisionSource,
  GivenCost,
  GivenUnits,
  GrantDecision,
  ImpossibleDecision,
  LimitedDecision,
  LimitState,
  NoDecisionFacts,
  PassedDecision,
  UnaskedLimit,
  UnlimitedDecision,
} from './base/decision.ts';
export type { Duration } from './base/duration.ts';
export type { ErrorCode, StoreFailure } from './base/errors.ts';
export type {
  CheckMessage,
  StoreCallMessage,
  StoreStateMessage,
  StoreSubmission,
} from './observe/messages.ts';
export type { CounterOf, Identity, IdentityOf, IdentityParts } from './base/identity.ts';
export type { Lease, LeaseHandle } from './limiter/lease.ts';
export type { HeardRefusal, Hooks, RateLimiterOptions } from './limiter/limiter-options.ts';
export type { FailStrategy } from './base/decision.ts';
export type { NotHeldDecision, Reservation, ReservationHandle } from './limiter/reservation.ts';
export type { Settlement } from './limiter/settlement.ts';
export type { ObservedResponse, ObserveOptions } from './limiter/observed-response.ts';
export type { RateLimitReport, ResponseHeaders } from './reports/parse-rate-limit.ts';
export type { ReportedLimit } from './reports/reported-limit.ts';
export type { RedisClient } from './redis/clients/client.ts';
export type { RefusedDecision } from './limiter/rate-limit-exceeded.ts';
export type { PortState, RedisPort } from './redis/port.ts';
export type {
  LimiterStats,
  PrepaidUnits,
  LimitStats,
  NodeState,
  Outcome,
  ReasonCounts,
  StoreStats,
} from './observe/stats.ts';
export type { MemoryStoreOptions } from './stores/memory.ts';
