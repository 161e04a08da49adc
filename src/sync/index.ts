export { RateLimiterSync } from './rate-limiter-sync.ts';

export type { PlainLimit, RateLimiterSyncOptions } from './options.ts';
