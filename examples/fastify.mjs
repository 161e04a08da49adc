import { RateLimiter } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/fastify';
import Fastify from 'fastify';
import { place, port, runUntilTold } from './shared/place.mjs';

const limiter = new RateLimiter({ ...place, rate: 5, period: '1m' });
const app = Fastify();
app.register(rateLimit, { limiter });
app.get('/', async () => 'hello\n');
// A route may add its own options, or `false` for no limit.
app.get('/export', { config: { rateLimit: { cost: 5 } } }, async () => 'all of it\n');
app.get('/health', { config: { rateLimit: false } }, async () => 'well\n');

// Until Redis answers, requests would pass unlimited.
await limiter.ready();
const origin = await app.listen({ port, host: '127.0.0.1' });
await runUntilTold(Number(new URL(origin).port), async () => {
  await app.close();
  await limiter.close();
});
