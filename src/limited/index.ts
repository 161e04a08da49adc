export { Limit } from './decorator.ts';
export { limited } from './limited.ts';
export { RateLimitExceeded } from '../limiter/rate-limit-exceeded.ts';

export type { LimitDecorator, DecoratorOptions } from './decorator.ts';
export type { LimitedOptions, WaitBounds } from './gate.ts';
export type { Limited } from './limited.ts';
export type { Refusal } from '../limiter/rate-limit-exceeded.ts';
