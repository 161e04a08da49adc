import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { install } from '../kit/fakes/installed.ts';
import type { Installed } from '../kit/fakes/installed.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const libraries = path.join(root, 'test/installs/coming-from');
/** Pages whose every block must show its output, and pages of which only blocks with output run. */
const complete = ['docs/functions', 'docs/sync'];
const comparing = ['bottleneck', 'limiter', 'p-throttle'].map((name) => `docs/coming-from/${name}`);
const others = ['README', 'docs/getting-started', 'docs/testing', ...comparing];

interface Block {
  readonly code: string;
  readonly title: string;
  /** The documented output. */
  readonly says: string;
}

function blocksOf(page: string, language: string): readonly Block[] {
  const text = readFileSync(path.join(root, `${page}.md`), 'utf8');
  return [...text.matchAll(/```(\w+)\n([^]*?)```/g)]
    .filter(([, written]) => written === language)
    .map(([, , code = '']) => ({
      code,
      title: `${path.basename(page)}-${/namespace: '(\w+)'/.exec(code)?.[1] ?? 'memory'}`,
      says: [...code.matchAll(/\/\/ prints: (.*)/g)].map(([, line]) => `${line}\n`).join(''),
    }))
    .filter(({ says }) => says !== '' || complete.includes(page));
}

const blocks = [...others, ...complete].flatMap((page) => blocksOf(page, 'ts'));

/** The same in another library, above ours. */
const theirs = comparing.flatMap((page) =>
  blocksOf(page, 'js').map((block, i) => ({ ...block, ours: blocksOf(page, 'ts')[i]! })),
);

const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-page-'));
let redis: RedisServer;
let installed: Installed;
beforeAll(async () => {
  ensurePackagesOf(libraries, 'the other libraries of docs/coming-from');
  const places = Object.fromEntries(
    comparing
      .map((page) => path.basename(page))
      .map((name) => [name, path.join(libraries, 'node_modules', name)]),
  );
  installed = install(['ioredis', ...Object.keys(places)], places);
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
    'bottleneck-pages',
    'bottleneck-users',
    'bottleneck-weights',
    'limiter-memory',
    'limiter-buckets',
    'p-throttle-throttled',
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

test.each(theirs)(
  'code of the other library prints the output of ours: $ours.title',
  async ({ ours, code, says }) => {
    expect(says).toBe(ours.says);
    const file = path.join(folder, `${ours.title}.theirs.mjs`);
    writeFileSync(file, code.replace('port: 6379', `port: ${new URL(redis.url).port}`));
    expect(await installed.run(file, [])).toBe(says);
  },
);

test('every block of a page that compares has its counterpart', () => {
  expect(theirs.map(({ ours }) => ours.title)).toEqual(
    comparing.flatMap((page) => blocksOf(page, 'ts').map(({ title }) => title)),
  );
});

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
