import { checkLimiterOptions } from './limiter-options.ts';
import type { RateLimiterOptions } from './limiter-options.ts';
import { RateLimiter } from './rate-limiter.ts';
import { readable } from '../options/read-options.ts';

/** The limiter that was given, or a new one of the options that were. */
export function toLimiter(given: RateLimiter | RateLimiterOptions): RateLimiter {
  return isLimiter(given) ? given : new RateLimiter(given);
}

/** Throws what `limiterOf` would throw, and makes nothing. */
export function checkLimiterOrOptions(given: unknown): void {
  if (!isLimiter(given as RateLimiter | RateLimiterOptions)) {
    checkLimiterOptions(given);
  }
}

/** By its shape: an application may hold two copies of the package. */
export function isLimiter(given: RateLimiter | RateLimiterOptions): given is RateLimiter {
  return readable(
    'limiter',
    () => typeof (given as Partial<RateLimiter> | undefined)?.allow === 'function',
  );
}
