import { createServer } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/express';
import express from 'express';
import { run } from './shared/node-server.mjs';
import { place } from './shared/place.mjs';

const limit = rateLimit({ ...place, rate: 5, period: '1m' });
const app = express();
app.use(limit);
app.get('/', (request, response) => void response.send('hello\n'));

await run(createServer(app), limit.limiter);
