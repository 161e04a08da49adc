/** The programs of the project in which rows run: one way to limit for all. */
import { EXPECTED } from './rows.mjs';

/** The clients of each way. */
export const CLIENTS = ['ioredis', '@upstash/redis@1.39.0'];

/** `decide`: three of four calls pass, then everything is closed, so that the program ends by itself. */
const DECIDE = `
function open(way, part = '', timeoutMs = 10000) {
  const { REDIS_URL, REST_URL, REST_TOKEN, NAMESPACE } = process.env;
  const client = way === 'client' ? new Redis(REDIS_URL, { maxRetriesPerRequest: 0 }) : undefined;
  const places = {
    URL: () => ({ redis: REDIS_URL, timeoutMs }),
    client: () => ({ redis: client, timeoutMs }),
    REST: () => ({
      redis: new Upstash({ url: REST_URL, token: REST_TOKEN, retry: { retries: 0 } }),
      timeoutMs,
    }),
    memory: () => ({ store: new MemoryStore() }),
  };
  const namespace = [NAMESPACE, part, way].join('-');
  const limiter = new RateLimiter({ ...places[way](), namespace, rate: 3, period: '1h' });
  const close = () => limiter.close().then(() => client?.disconnect());
  return { limiter, close };
}

async function told(call) {
  try {
    return (await call()).reason;
  } catch (error) {
    return error.code ?? String(error);
  }
}

const kept = {};

/** One call of a limiter that the process keeps. */
function ask(way, part, timeoutMs = undefined) {
  return told(() => (kept[part + way] ??= open(way, part, timeoutMs)).limiter.allow('user'));
}

async function decide(way) {
  const { limiter, close } = open(way);
  const reasons = [];
  for (let i = 0; i < 4; i++) reasons.push(await told(() => limiter.allow('user')));
  await close();
  return reasons.join();
}
`;

const IMPORTS = `
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { Redis } from 'ioredis';
import { Redis as Upstash } from '@upstash/redis';
`;

const REQUIRES = `
const { MemoryStore, RateLimiter } = require('distributed-rate-limiter');
const { Redis } = require('ioredis');
const { Redis: Upstash } = require('@upstash/redis');
`;

const COMPARE = `
test('three of four pass', async () => expect(await decide(process.env.WAY)).toBe('${EXPECTED}'));`;

/** ioredis is CommonJS. */
const BANNER = "import { createRequire } from 'node:module'; const require = createRequire('/');";

/** @type {Readonly<Record<string, string>>} */
const FILES = {
  'decide.mjs': `${IMPORTS}${DECIDE}export { ask, decide, open, told };`,
  'decide.cjs': `${REQUIRES}${DECIDE}module.exports = { decide };`,
  'main.mjs': `
import { decide } from './decide.mjs';
decide(process.argv[2]).then(console.log);`,
  'main.cjs': `
const { decide } = require('./decide.cjs');
decide(process.argv[2]).then(console.log);`,
  'jest.test.cjs': `
const { decide } = require('./decide.cjs');${COMPARE}`,
  'jest.config.cjs': "module.exports = { testMatch: ['**/jest.test.cjs'] };",
  'ts-jest/decide.test.ts': `${IMPORTS}${DECIDE}${COMPARE}`,
  'ts-jest/jest.config.cjs': "module.exports = { preset: 'ts-jest', testEnvironment: 'node' };",
  // Types are found by `typesVersions`, and code by `require`.
  'ts-jest/tsconfig.json': JSON.stringify({
    compilerOptions: {
      module: 'commonjs',
      moduleResolution: 'node10',
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable', 'dom'],
      esModuleInterop: true,
      skipLibCheck: true,
      types: ['jest', 'node'],
    },
  }),
  'vitest.test.mjs': `
import { expect, test } from 'vitest';
import { decide } from './decide.mjs';${COMPARE}`,
  'vitest.config.mjs': "export default { test: { include: ['vitest.test.mjs'] } };",
  'node.test.mjs': `
import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.mjs';
test('three of four pass', async () => equal(await decide(process.env.WAY), '${EXPECTED}'));`,
  // Under the deadline that a limiter has by default.
  'handler.mjs': `
import { createServer } from 'node:http';
import { ask } from './decide.mjs';
const server = createServer((_request, response) => {
  ask(process.argv[2], 'handler', 250).then((reason) => response.end(reason));
});
server.listen(0, '127.0.0.1', () => console.log('listening', server.address().port));`,
  'worker.mjs': `
import { Redis as Upstash } from '@upstash/redis';
import { Redis } from 'ioredis';
import { defineLimiter } from 'distributed-rate-limiter/workers';
import { ask, told } from './decide.mjs';

const define = (way, redis) =>
  defineLimiter({ redis, namespace: 'workerd-' + way, rate: 3, period: '1h', timeoutMs: 10000 });

const defined = {
  client: define('client', (env) => new Redis(env.REDIS_URL, { maxRetriesPerRequest: 0 })),
  REST: define(
    'REST',
    (env) => new Upstash({ url: env.REST_URL, token: env.REST_TOKEN, retry: { retries: 0 } }),
  ),
};

export default {
  async fetch(request, env, context) {
    const way = new URL(request.url).pathname.slice(1);
    const limits = defined[way];
    const reason = limits
      ? told(() => limits.forRequest(context, env).allow('user'))
      : ask(way, 'worker');
    return new Response(await reason);
  },
};`,
  'workerd.mjs': `
import { build } from 'esbuild';
import { Miniflare } from 'miniflare';

const { outputFiles } = await build({
  entryPoints: ['worker.mjs'],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  banner: { js: ${JSON.stringify(BANNER)} },
});
const { REDIS_URL, REST_URL, REST_TOKEN, NAMESPACE } = process.env;
const miniflare = new Miniflare({
  // As wrangler passes it: what is imported only with a URL may be missing.
  modules: [{ type: 'ESModule', path: 'worker.mjs', contents: outputFiles[0].text }],
  compatibilityDate: '2026-07-01',
  compatibilityFlags: ['nodejs_compat'],
  bindings: { REDIS_URL, REST_URL, REST_TOKEN, NAMESPACE },
});
const reasons = [];
for (let i = 0; i < 4; i++) {
  const response = await miniflare.dispatchFetch('http://worker/' + process.argv[2]);
  reasons.push(await response.text());
}
await miniflare.dispose();
console.log(reasons.join());`,
  'edge-worker.mjs': `
import { ask } from './decide.mjs';
addEventListener('fetch', (event) => {
  const way = new URL(event.request.url).pathname.slice(1);
  event.respondWith(ask(way, 'edge').then((reason) => new Response(reason)));
});`,
  // As Vercel bundles a function of its edge.
  'edge.mjs': `
import { build } from 'esbuild';
import { EdgeRuntime } from 'edge-runtime';

const { outputFiles } = await build({
  entryPoints: ['edge-worker.mjs'],
  bundle: true,
  write: false,
  format: 'iife',
  platform: 'browser',
  conditions: ['edge-light', 'worker'],
  external: ['node:*', 'ioredis'],
});
const extend = (context) => Object.assign(context, { process: { env: { ...process.env } } });
let runtime;
const reasons = [];
for (let i = 0; i < 4; i++) {
  try {
    runtime ??= new EdgeRuntime({ extend, initialCode: outputFiles[0].text });
    const response = await runtime.dispatchFetch('http://edge/' + process.argv[2]);
    reasons.push(await response.text());
  } catch (error) {
    reasons.push(error.code ?? String(error));
  }
}
console.log(reasons.join());`,
};

/** @param {import('../try/project.mjs').Project} project */
export function writeFiles(project) {
  for (const [file, text] of Object.entries(FILES)) project.write(file, text);
}
