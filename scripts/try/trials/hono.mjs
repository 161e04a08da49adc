import { blockOf } from '../docs.mjs';
import { areReal, askInTurn, fields, statuses } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const hono = {
  name: 'hono',
  title: 'Hono on Node: "Adapters" of docs/http.md',
  async run(trial) {
    const packages = ['ioredis', 'hono', '@hono/node-server'];
    const project = await trial.installed(packages);
    const documented = blockOf('docs/http.md', trial.redis.url, 'distributed-rate-limiter/hono');
    project.write('main.js', `${HEAD}${documented}${TAIL}`);

    const { url, output } = await project.serve(['node', 'main.js']);
    const answers = await askInTurn(4, url);
    trial.must(
      '3 requests pass, then none',
      statuses(answers) === '200 ×3, 429 ×1',
      statuses(answers),
    );
    trial.must(
      'every decision is made in Redis, the first one too',
      areReal(answers),
      fields(answers[0]),
    );
    trial.mustNotWarn(output());
  },
};

const HEAD = `
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { RateLimiter } from 'distributed-rate-limiter';

const limiter = new RateLimiter({ redis: process.env.REDIS_URL, rate: 3, period: '1h' });
const app = new Hono();
`;

const TAIL = `
app.get('/', (c) => c.text('hello'));
serve({ fetch: app.fetch, port: 0 }, ({ port }) => console.log('listening', port));
`;
