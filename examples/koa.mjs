import { createServer } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/koa';
import Koa from 'koa';
import { run } from './shared/node-server.mjs';
import { place } from './shared/place.mjs';

const limit = rateLimit({ ...place, rate: 5, period: '1m' });
const app = new Koa();
app.use(limit);
app.use((ctx) => {
  ctx.body = 'hello\n';
});

const listener = app.callback();
await run(
  createServer((request, response) => void listener(request, response)),
  limit.limiter,
);
