export { RateLimit } from './decorator.ts';
export { limited } from './limited.ts';
export { RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';

export type { RateLimitDecorator, RateLimitDecoratorOptions } from './decorator.ts';
export type { LimitedOptions, WaitBounds } from './gate.ts';
export type { LimitedFunction } from './limited.ts';
export type { RefusedDecision } from '../limiter/rate-limit-exceeded.ts';
