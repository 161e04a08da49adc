/** Astro: every page and endpoint that is made on demand, over the adapter for web-standard handlers. */
import { MemoryStore } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/web';
import process from 'node:process';

const redis = process.env['REDIS_URL'];

const limited = rateLimit(
  {
    ...(redis === undefined ? { store: new MemoryStore() } : { redis }),
    namespace: 'astro',
    rate: 5,
    period: '1m',
  },
  {
    /**
     * With `security.allowedDomains` it is the first entry of X-Forwarded-For: then the proxy must overwrite the header.
     * @param {Request} _request
     * @param {import('astro').APIContext} context
     */
    address: (_request, context) => context.clientAddress,
    // Addresses of proxies before the server, such as `loopback`.
    trustedProxies: process.env['TRUSTED_PROXIES']?.split(',') ?? [],
    // Pages made by the build have no client.
    skip: (_request, context) => context.isPrerendered,
  },
);

/** @type {import('astro').MiddlewareHandler} */
export const onRequest = (context, next) => limited(() => next())(context.request, context);
