import path from 'node:path';
import process from 'node:process';

/** @type {import('../trial.mjs').Trial} */
export const jest = {
  name: 'jest',
  title:
    'Jest without a client library: the tests of docs/testing.md; default mode, ts-jest, ESM mode',
  async run(trial) {
    const project = await trial.installed(['jest', 'ts-jest', 'typescript@5.9.3', '@types/jest'], {
      type: 'commonjs',
    });
    project.write('default/limit.test.js', DEFAULT);
    project.write('esm/limit.test.mjs', ESM);
    project.write('both/limit.test.mjs', BOTH);
    project.write('typescript/limit.test.ts', TYPESCRIPT);
    project.write('typescript/jest.config.json', TS_JEST);
    project.write('typescript/tsconfig.json', TS_CONFIG);
    const bin = path.join(project.folder, 'node_modules/jest/bin/jest.js');

    /**
     * @param {string} claim
     * @param {readonly string[]} args
     */
    async function passes(claim, ...args) {
      const { code, output } = await project.run([process.execPath, ...args]);
      const said = /^Tests:.*$/m.exec(output)?.[0] ?? '';
      trial.must(claim, code === 0 && /Tests:\s+2 passed, 2 total/.test(said), said || output);
      trial.mustNotWarn(output.replaceAll(/^.*(?:ExperimentalWarning|--trace-warnings).*$/gm, ''));
    }

    await passes('default mode', bin, '--rootDir', 'default');
    await passes('ts-jest', bin, '--config', 'typescript/jest.config.json');
    const esm = ['--experimental-vm-modules', bin, '--testMatch=**/*.test.mjs', '--rootDir'];
    await passes('ESM mode', ...esm, 'esm');
    await passes('ESM mode that also requires the package', ...esm, 'both');
  },
};

/** By a clock of the test, and on Redis by URL. */
const BODY = `
test('one unit is back after two seconds', async () => {
  const clock = new ManualClock();
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), rate: 5, period: '10s' });
  await limiter.allow('a', { cost: 5 });
  expect((await limiter.allow('a')).allowed).toBe(false);
  clock.advance('2s');
  expect((await limiter.allow('a')).allowed).toBe(true);
});

test('without a client library a URL is a mistake of the program', async () => {
  const limiter = new RateLimiter({ redis: 'redis://127.0.0.1:1', rate: 5, period: '10s' });
  await expect(limiter.allow('a')).rejects.toHaveProperty('code', 'ERR_CLIENT_MISSING');
  await limiter.close();
});
`;

const DEFAULT = `
const { MemoryStore, RateLimiter } = require('distributed-rate-limiter');
const { ManualClock } = require('distributed-rate-limiter/testing');
${BODY}`;

const ESM = `
import { expect, test } from '@jest/globals';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
${BODY}`;

/** Two copies: a limit and a store of one in a limiter of the other. */
const BOTH = `
import { createRequire } from 'node:module';
import { expect, test } from '@jest/globals';
import * as imported from 'distributed-rate-limiter';

const required = createRequire(import.meta.url)('distributed-rate-limiter');

test.each([[imported, required], [required, imported]])('%# a limit of one copy limits in the other', async (one, other) => {
  const limits = [one.tokenBucket({ rate: 1, period: '1h' })];
  const limiter = new other.RateLimiter({ store: new one.MemoryStore(), limits });
  expect((await limiter.allow('a')).allowed).toBe(true);
  expect((await limiter.allow('a')).allowed).toBe(false);
});
`;

const TYPESCRIPT = `
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import type { Decision } from 'distributed-rate-limiter';

export const passes = (decision: Decision): boolean => decision.allowed;
${BODY}`;

const TS_JEST = JSON.stringify({ preset: 'ts-jest', testEnvironment: 'node' });

/** Types are found by \`typesVersions\`, and code by \`require\`. */
const TS_CONFIG = JSON.stringify({
  compilerOptions: {
    module: 'commonjs',
    moduleResolution: 'node10',
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    esModuleInterop: true,
    strict: true,
    skipLibCheck: true,
    types: ['jest'],
  },
});
