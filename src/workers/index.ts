export { defineLimiter } from './define-limiter.ts';
export type { DefinedLimiter, DefinedLimiterOptions } from './define-limiter.ts';
export type { RequestContext } from './request-client.ts';
export type { RedisClient } from '../redis/clients/client.ts';
