import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { install } from '../kit/fakes/installed.ts';
import type { Installed } from '../kit/fakes/installed.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Pages whose every block must show its output, and pages of which only blocks with output run. */
const complete = ['docs/functions', 'docs/sync'];
const others = ['README', 'docs/getting-started', 'docs/testing'];

const blocks = [...others, ...complete].flatMap((page) => {
  const text = readFileSync(path.join(root, `${page}.md`), 'utf8');
  return [...text.matchAll(/```ts\n([^]*?)```/g)]
    .map(([, code = '']) => ({
      code,
      title: `${path.basename(page)}-${/namespace: '(\w+)'/.exec(code)?.[1] ?? 'memory'}`,
      says: [...code.matchAll(/\/\/ prints: (.*)/g)].map(([, line]) => `${line}\n`).join(''),
    }))
    .filter(({ says }) => says !== '' || complete.includes(page));
});

const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-page-'));
let redis: RedisServer;
let installed: Installed;
beforeAll(async () => {
  installed = install(['ioredis']);
  redis = await startRedis();
});
afterAll(async () => {
  installed.remove();
  rmSync(folder, { recursive: true, force: true });
  await redis.close();
});

test('every page has its code blocks, each with its output', () => {
  expect(blocks.map(({ title }) => title)).toEqual([
    'README-memory',
    'getting-started-first',
    'getting-started-answer',
    'testing-memory',
    'functions-mail',
    'functions-search',
    'functions-outgoing',
    'functions-jobs',
    'functions-reports',
    'sync-deploy',
    'sync-publish',
    'sync-uploads',
  ]);
  expect(blocks.filter(({ says }) => says === '')).toEqual([]);
});

test.each(blocks)(
  '$title prints the documented output and exits',
  async ({ title, code, says }) => {
    // On a busy machine a first connection may exceed the default deadline, and the call would then pass degraded.
    const here = code.replaceAll("'redis://localhost:6379'", `'${redis.url}', timeoutMs: 10_000`);
    const { code: compiled } = await transform(here, { loader: 'ts', target: 'node20' });
    const file = path.join(folder, `${title}.mjs`);
    writeFileSync(file, compiled);
    expect(await installed.run(file, [], { REDIS_URL: redis.url })).toBe(says);
  },
);

test('every code block compiles', () => {
  const files = blocks.map(({ title, code }) => {
    writeFileSync(path.join(folder, `${title}.mts`), code);
    return `${title}.mts`;
  });
  const tsconfig = path.join(folder, 'tsconfig.json');
  const compilerOptions = { typeRoots: [path.join(root, 'node_modules/@types')] };
  const base = path.join(root, 'tsconfig.json');
  writeFileSync(tsconfig, JSON.stringify({ extends: base, compilerOptions, files, include: [] }));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', tsconfig], { encoding: 'utf8' });
  expect(stdout).toBe('');
});
