import { checkLimiterOptions } from './limiter-options.ts';
import type { RateLimiterOptions } from './limiter-options.ts';
import { RateLimiter } from './rate-limiter.ts';
import { readable } from '../options/read-options.ts';

/** Returns the given limiter, or makes one of the given options. */
export function toLimiter(given: RateLimiter | RateLimiterOptions): RateLimiter {
  return isLimiter(given) ? given : new RateLimiter(given);
}

/** Throws what `toLimiter` would throw, but makes nothing. */
export function checkLimiterOrOptions(given: unknown): void {
  if (!isLimiter(given as RateLimiter | RateLimiterOptions)) {
    checkLimiterOptions(given);
  }
}

/** Checks the shape, because an application may hold two copies of the package. */
export function isLimiter(given: RateLimiter | RateLimiterOptions): given is RateLimiter {
  return readable(
    'limiter',
    () => typeof (given as Partial<RateLimiter> | undefined)?.allow === 'function',
  );
}
