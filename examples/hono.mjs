import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { rateLimit } from 'distributed-rate-limiter/hono';
import { Hono } from 'hono';
import { run } from './shared/node-server.mjs';
import { place } from './shared/place.mjs';

const limit = rateLimit({ ...place, rate: 5, period: '1m' });
const app = new Hono();
app.use(limit);
app.get('/', (c) => c.text('hello\n'));

const listener = getRequestListener(app.fetch);
await run(
  createServer((request, response) => void listener(request, response)),
  limit.limiter,
);
