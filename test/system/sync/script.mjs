// @ts-check
/** A user's script: two calls at its top level, without `close`. */
import process from 'node:process';
import { RateLimiterSync } from 'distributed-rate-limiter/sync';

const limiter = new RateLimiterSync({
  redis: process.argv[2] ?? '',
  namespace: 'script',
  rate: 1,
  period: '1h',
  timeoutMs: 5_000,
});
try {
  console.log(limiter.allow('user').reason);
  console.log(limiter.allow('user').reason);
} catch (error) {
  console.log(/** @type {{ code?: string }} */ (error).code);
}
