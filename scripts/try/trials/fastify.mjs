import { blockOf } from '../docs.mjs';
import { areReal, askInTurn, fields, statuses } from '../requests.mjs';

/** @type {import('../trial.mjs').Trial} */
export const fastify = {
  name: 'fastify',
  title: 'Fastify 5: "Adapters" of docs/http.md',
  async run(trial) {
    const project = await trial.installed(['ioredis', 'fastify']);
    const documented = blockOf('docs/http.md', trial.redis.url, 'distributed-rate-limiter/fastify');
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
    const health = await askInTurn(5, `${url}/health`);
    trial.must('an exempt route is not limited', statuses(health) === '200 ×5', statuses(health));
    const logins = await askInTurn(3, `${url}/login`, { method: 'POST' });
    trial.must(
      '2 failed logins, then none',
      statuses(logins) === '401 ×2, 429 ×1',
      statuses(logins),
    );
    trial.mustNotWarn(output());
  },
};

const HEAD = `
import { fastify } from 'fastify';
import { RateLimiter } from 'distributed-rate-limiter';

const redis = process.env.REDIS_URL;
const limiter = new RateLimiter({ redis, rate: 3, period: '1h' });
const logins = new RateLimiter({ redis, namespace: 'logins', rate: 2, period: '1h' });
const health = async () => 'well';
const login = async (request, reply) => reply.code(401).send('wrong password');
const app = fastify();
`;

const TAIL = `
app.get('/', async () => 'hello');
await app.listen({ port: 0 });
console.log('listening', app.server.address().port);
`;
