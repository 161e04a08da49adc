/** @type {import('../trial.mjs').Trial} */
export const types = {
  name: 'types',
  title: "TypeScript, strict: names users in Fastify's and Hono's own types, without annotations",
  async run(trial) {
    const packages = ['typescript', '@types/node', 'fastify', 'hono'];
    const project = await trial.installed(packages);
    for (const [name, text] of Object.entries(FILES)) {
      project.write(`${name}.ts`, text);
      project.write('tsconfig.json', JSON.stringify({ ...SETTINGS, files: [`${name}.ts`] }));
      const { code, output } = await project.run(['tsc']);
      trial.must(`${name}: compiles`, code === 0, output.trim() || 'no error');
    }
  },
};

const SETTINGS = {
  compilerOptions: {
    module: 'nodenext',
    target: 'es2023',
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  },
};

const LIMITER = `
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';

const limiter = new RateLimiter({ store: new MemoryStore(), rate: 3, period: '1h' });
`;

const FILES = {
  fastify: `${LIMITER}
import { fastify } from 'fastify';
import { rateLimit } from 'distributed-rate-limiter/fastify';

const app = fastify();
app.register(rateLimit, { limiter, identify: (request) => request.ip });
`,
  'fastify-import': `${LIMITER}
import { fastify } from 'fastify';

const app = fastify();
app.register(import('distributed-rate-limiter/fastify'), { limiter });
`,
  hono: `${LIMITER}
import { Hono } from 'hono';
import { rateLimit } from 'distributed-rate-limiter/hono';

const app = new Hono<{ Variables: { user: { id: string } } }>();
app.use(rateLimit(limiter, { identify: (c) => c.get('user').id }));
app.use(rateLimit(limiter, { identify: (c) => c.var.user.id }));
`,
  'a number as identity': `${LIMITER}
const user = { id: 7 };
console.log(await limiter.allow(user.id), await limiter.allow([user.id, 'uploads']));
`,
};
