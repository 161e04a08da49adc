export { RateLimiter } from './limiter.ts';
export { concurrency } from './algorithms/concurrency.ts';
export { fixedWindow } from './algorithms/fixed-window.ts';
export { slidingWindow } from './algorithms/sliding-window.ts';
export { slidingWindowLog } from './algorithms/sliding-window-log.ts';
export { tokenBucket } from './algorithms/token-bucket.ts';
export { MemoryStore } from './stores/memory.ts';
export { RateLimiterError, StoreError } from './errors.ts';
export { RateLimitExceeded } from './rate-limit-exceeded.ts';

export type { CalendarUnit } from './algorithms/calendar.ts';
export type { ConcurrencyOptions } from './algorithms/concurrency.ts';
export type { FixedWindowOptions } from './algorithms/fixed-window.ts';
export type { AlgorithmName, Limit, LimitOptions } from './algorithms/limit.ts';
export type { SlidingWindowOptions } from './algorithms/sliding-window.ts';
export type { SlidingWindowLogOptions } from './algorithms/sliding-window-log.ts';
export type { TokenBucketOptions } from './algorithms/token-bucket.ts';
export type { AcquireOptions, CallOptions, ReserveOptions, WaitOptions } from './call-options.ts';
export type { Clock } from './clock.ts';
export type {
  Allowed,
  Blocked,
  Decision,
  Degraded,
  Facts,
  Grant,
  Impossible,
  Limited,
  LimitState,
  NoFacts,
  PassedDecision,
  UnaskedLimit,
} from './decision.ts';
export type { Duration } from './duration.ts';
export type { ErrorCode, StoreFailure } from './errors.ts';
export type {
  CheckMessage,
  StoreCallMessage,
  StoreStateMessage,
  StoreSubmission,
} from './events.ts';
export type { Identity } from './identity.ts';
export type { Lease, LeaseHandle } from './lease.ts';
export type { FailStrategy, Hooks, LimiterOptions } from './limiter-options.ts';
export type { Reservation, Settleable, Settlement } from './reservation.ts';
export type { RedisClient } from './redis/connect.ts';
export type { Refusal } from './rate-limit-exceeded.ts';
export type { PortState, RedisPort } from './redis/port.ts';
export type {
  LimiterStats,
  LimitStats,
  NodeState,
  Outcome,
  ReasonCounts,
  StoreStats,
} from './stats.ts';
export type { MemoryStoreOptions } from './stores/memory.ts';
