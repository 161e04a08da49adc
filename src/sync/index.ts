export { RateLimiterSync } from './rate-limiter-sync.ts';

export type { LimitNumbers, SyncLimiterOptions } from './options.ts';
