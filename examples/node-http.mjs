import { createServer } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/node-http';
import { run } from './shared/node-server.mjs';
import { place } from './shared/place.mjs';

const limited = rateLimit({ ...place, rate: 5, period: '1m' });
const server = createServer(limited((request, response) => response.end('hello\n')));

await run(server, limited.limiter);
