export { parseRateLimit } from '../reports/parse-rate-limit.ts';
export { pacedFetch } from './paced-fetch.ts';
export { limitedFetch } from './limited-fetch.ts';
export { limitMiddleware } from './limit-middleware.ts';

export type { Clock } from '../base/clock.ts';
export type { LimitedFetchOptions, LimitedRequest } from './limited-fetch.ts';
export type { LimitMiddleware, LimitMiddlewareOptions, ModelCall } from './limit-middleware.ts';
export type { RateLimitReport, ResponseHeaders } from '../reports/parse-rate-limit.ts';
export type { PacedFetchOptions } from './paced-fetch.ts';
export type { ReportedLimit } from '../reports/reported-limit.ts';
export type { Fetch, PacedRequest } from './request.ts';
export type { SpendingOptions } from './spending-options.ts';
export type { ModelUsage } from './usage.ts';
