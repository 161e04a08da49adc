/**
 * Loads the package's ES modules and its CommonJS, and mixes them. The flag `--no-experimental-require-module` makes
 * Node do what a few tools do. Prints what each step came to.
 */
import { createRequire } from 'node:module';
import process from 'node:process';
import * as module from 'distributed-rate-limiter';
import * as http from 'distributed-rate-limiter/http';
import * as prometheus from 'distributed-rate-limiter/prometheus';
import * as limited from 'distributed-rate-limiter/limited';

const require = createRequire(import.meta.url);
const common = require('distributed-rate-limiter');
const commonHttp = require('distributed-rate-limiter/http');
const commonPrometheus = require('distributed-rate-limiter/prometheus');
const { Redis } = require('ioredis');
const { Registry } = require('prom-client');
const [, , url = ''] = process.argv;
const numbers = /** @type {const} */ ({ rate: 2, period: '1h' });
/** @type {any} */
const seen = { copies: module.RateLimiter === common.RateLimiter ? 1 : 2 };

// A limit and a store of one copy in a limiter of the other.
const store = new common.MemoryStore();
const limits = [common.slidingWindowLog(numbers)];
const mixed = new module.RateLimiter({ store, limits });
const other = new common.RateLimiter({ store, limits: [module.slidingWindowLog(numbers)] });
const first = await mixed.allow('user');
seen.mixed = [first, await other.allow('user'), await mixed.allow('user')].map((d) => d.allowed);

// A refund of a decision under them.
await mixed.refund(first);
seen.refunded = (await other.peek('user')).remaining;

// A decorator of one copy over a limiter of the other, and an error that both know.
const work = limited.limited(() => 'done', { limiter: other, identify: 'user' });
seen.limited = [
  await work(),
  await work().catch((error) => error instanceof module.RateLimitExceeded),
];

// One connection for a client and for a URL.
const client = new Redis(url, { maxRetriesPerRequest: 0 });
const options = /** @type {const} */ ({ ...numbers, namespace: 'both' });
const limiters = [client, url].flatMap((redis) => [
  new module.RateLimiter({ ...options, redis }),
  new common.RateLimiter({ ...options, redis }),
]);
await Promise.all(limiters.map((limiter) => limiter.ready()));
const watcher = client.duplicate();
seen.connections = String(await watcher.client('LIST'))
  .trim()
  .split('\n').length;
seen.redis = [];
for (const limiter of limiters) seen.redis.push((await limiter.allow('user')).allowed);

// Exporters of both copies see the limiters of both.
seen.exported = [];
for (const { prometheusMetrics } of [prometheus, commonPrometheus]) {
  const register = new Registry();
  prometheusMetrics({ register });
  const text = await register.metrics();
  const line = /^drl_decisions_total\{.*limiter="both".*within_limit.*\} (\d+)$/m;
  seen.exported.push(Number(line.exec(text)?.[1]));
}

// A decision about a request that a guard of one copy saw.
const request = { user: 'other' };
const identify = (/** @type {{ user: string }} */ { user }) => user;
await http.createGuard(other, { identify }).check(request);
seen.decisionOf = commonHttp.decisionOf(request)?.allowed;

await Promise.all(limiters.map((limiter) => limiter.close()));
client.disconnect();
watcher.disconnect();
console.log(JSON.stringify(seen));
