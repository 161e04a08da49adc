export { parseRateLimit } from './parse-rate-limit.ts';
export { pacedFetch } from './paced-fetch.ts';

export type { RateLimitReport, ReportedLimit, ResponseHeaders } from './parse-rate-limit.ts';
export type { Fetch, PacedFetchOptions, PacedRequest, PacingClock } from './paced-fetch.ts';
