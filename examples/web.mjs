import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { rateLimit } from 'distributed-rate-limiter/web';
import { run } from './shared/node-server.mjs';
import { place } from './shared/place.mjs';

// A web Request does not tell the client's address. An API key names the caller; all callers without a key share one
// limit.
const limited = rateLimit(
  { ...place, rate: 5, period: '1m' },
  { identify: (request) => request.headers.get('x-api-key') ?? 'anonymous' },
);
// In Next.js this would be `export const GET = …`; in Bun or Deno, the function that serves.
const handler = limited(() => new Response('hello\n'));

const listener = getRequestListener((request) => handler(request));
await run(
  createServer((request, response) => void listener(request, response)),
  limited.limiter,
);
