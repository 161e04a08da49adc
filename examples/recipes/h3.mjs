/** h3, below Nitro and Nuxt: middleware over the adapter for web-standard handlers. */
import { createServer } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/web';
import { getRequestIP, H3, toResponse } from 'h3';
import { toNodeHandler } from 'h3/node';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';

const limited = rateLimit(
  { ...place, namespace: 'h3', rate: 5, period: '1m' },
  { address: (_request, event) => getRequestIP(event) },
);

const app = new H3();
// In Nitro this is a file of `server/middleware`, with `defineHandler` around it.
app.use((event, next) => limited(async () => toResponse(await next(), event))(event.req, event));
app.get('/', () => 'hello');
app.get('/broken', () => {
  throw new Error('broken');
});

await run(createServer(toNodeHandler(app)), limited.limiter);
