/** SvelteKit: every request that it answers itself, over the adapter for web-standard handlers. */
import { building } from '$app/env';
import { MemoryStore } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/web';
import process from 'node:process';

const redis = process.env['REDIS_URL'];

const limited = rateLimit(
  {
    ...(redis === undefined ? { store: new MemoryStore() } : { redis }),
    namespace: 'sveltekit',
    rate: 5,
    period: '1m',
  },
  {
    /**
     * Behind a proxy, ADDRESS_HEADER and XFF_DEPTH tell @sveltejs/adapter-node where the client's address is.
     * @param {Request} _request
     * @param {import('@sveltejs/kit').RequestEvent} event
     */
    address: (_request, event) => event.getClientAddress(),
    // Pages made by the build have no client. What a `load` function fetches here is part of its page's request.
    skip: (_request, event) => building || event.isSubRequest,
  },
);

export async function init() {
  // Until Redis answers, requests would pass unlimited.
  if (!building) await limited.limiter.ready();
}

/** @type {import('@sveltejs/kit/hooks').Handle} */
export const handle = ({ event, resolve }) => limited(() => resolve(event))(event.request, event);

process.once('sveltekit:shutdown', () => void limited.limiter.close());
