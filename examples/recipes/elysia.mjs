/** Elysia, on Node by its adapter or on Bun: all that the application serves, over the adapter for web-standard handlers. */
import { node } from '@elysiajs/node';
import { rateLimit } from 'distributed-rate-limiter/web';
import { Elysia } from 'elysia';
import process from 'node:process';
import { place, port, runUntilTold } from '../shared/place.mjs';

const onNode = process.versions.bun === undefined;

const limited = rateLimit(
  { ...place, namespace: 'elysia', rate: 5, period: '1m' },
  // On Node the request knows its peer; on Bun the server does.
  { address: (request) => (onNode ? request.ip : app.server.requestIP(request)?.address) },
);

let visitors = 0;
const app = new Elysia(onNode ? { adapter: node() } : {})
  // Around the router: static responses, mounted handlers, 404 and errors are limited, too. Elysia types `handle` as
  // any function, so in TypeScript write `limited(handle as never)`.
  .wrap((handle) => limited(handle))
  .get('/', () => `hello, visitor ${(visitors += 1)}`)
  .get('/static', 'static')
  .get('/broken', () => {
    throw new Error('broken');
  })
  .mount('/mounted', () => new Response('mounted'));

await limited.limiter.ready();
const server = await new Promise((resolve) => {
  app.listen({ port, hostname: '127.0.0.1' }, resolve);
});
// On Node the adapter's `raw` server listens a little later, and knows then which free port it is.
await server.raw?.ready();
await runUntilTold(server.raw?.node.server.address().port ?? server.port, async () => {
  await server.stop();
  await limited.limiter.close();
});
