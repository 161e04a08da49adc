export { parseRateLimit } from './parse-rate-limit.ts';
export { pacedFetch } from './paced-fetch.ts';

export type { RateLimitReport, ResponseHeaders } from './parse-rate-limit.ts';
export type { ReportedLimit } from './reported-limit.ts';
export type { Clock } from '../base/clock.ts';
export type { Fetch, PacedFetchOptions, PacedRequest } from './paced-fetch.ts';
