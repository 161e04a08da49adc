/** The project in which every cell runs: the packed package, the clients, the tools, and one program for all. */
import { EXPECTED } from './cells.mjs';

export const PACKAGES = [
  'ioredis',
  '@upstash/redis@1.39.0',
  'jest',
  'vitest',
  'esbuild',
  'rolldown',
  'webpack',
  'webpack-cli',
  'next',
  'react',
  'react-dom',
  'typescript@5.9.3',
  '@types/react',
  '@types/node',
];

/** Three of four calls pass. Everything is closed, so that the program ends by itself. */
const DECIDE = `
async function decide(way) {
  const { REDIS_URL, REST_URL, REST_TOKEN, NAMESPACE } = process.env;
  const client = way === 'client' ? new Redis(REDIS_URL, { maxRetriesPerRequest: 0 }) : undefined;
  const places = {
    URL: () => ({ redis: REDIS_URL, timeoutMs: 10000 }),
    client: () => ({ redis: client, timeoutMs: 10000 }),
    REST: () => ({
      redis: new Upstash({ url: REST_URL, token: REST_TOKEN, retry: { retries: 0 } }),
      timeoutMs: 10000,
    }),
    memory: () => ({ store: new MemoryStore() }),
  };
  const limiter = new RateLimiter({
    ...places[way](), namespace: NAMESPACE + '-' + way, rate: 3, period: '1h',
  });
  const reasons = [];
  for (let i = 0; i < 4; i++) {
    reasons.push(await limiter.allow('user').then(({ reason }) => reason, (error) => error.code));
  }
  await limiter.close();
  client?.disconnect();
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

/** @type {Readonly<Record<string, string>>} */
const FILES = {
  'decide.mjs': `${IMPORTS}export ${DECIDE.trim()}`,
  'decide.cjs': `${REQUIRES}${DECIDE}module.exports = { decide };`,
  'main.mjs': `
import { decide } from './decide.mjs';
decide(process.argv[2]).then(console.log);`,
  'main.cjs': `
const { decide } = require('./decide.cjs');
decide(process.argv[2]).then(console.log);`,
  'jest.test.cjs': `
const { decide } = require('./decide.cjs');
test('three of four pass', async () => expect(await decide(process.env.WAY)).toBe('${EXPECTED}'));`,
  'jest.config.cjs': "module.exports = { testMatch: ['**/jest.test.cjs'] };",
  'vitest.test.mjs': `
import { expect, test } from 'vitest';
import { decide } from './decide.mjs';
test('three of four pass', async () => expect(await decide(process.env.WAY)).toBe('${EXPECTED}'));`,
  'vitest.config.mjs': "export default { test: { include: ['vitest.test.mjs'] } };",
  'node.test.mjs': `
import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.mjs';
test('three of four pass', async () => equal(await decide(process.env.WAY), '${EXPECTED}'));`,
  'app/api/[way]/route.ts': `
// @ts-ignore a plain module
import { decide } from '../../../decide.mjs';
export const dynamic = 'force-dynamic';
export async function GET(_request: Request, { params }: { params: Promise<{ way: string }> }) {
  return new Response(await decide((await params).way));
}`,
  'app/layout.tsx': `
export default function Layout({ children }: { children: React.ReactNode }) {
  return <html><body>{children}</body></html>;
}`,
};

/** @param {import('../try/project.mjs').Project} project */
export function writeFiles(project) {
  for (const [file, text] of Object.entries(FILES)) project.write(file, text);
}
