import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installRuntime } from '../../scripts/runtimes.mjs';
import { startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { entries, unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';

/** The client libraries for URLs, and packages that some entries need. */
const NEEDED = ['ioredis', 'redis', '@nestjs', '@opentelemetry', 'reflect-metadata', 'rxjs'];

let project = '';
let redis: RedisServer;

beforeAll(async () => {
  project = newProject('runtimes');
  unpackInto(project);
  linkLibraries(project, NEEDED);
  writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true }');
  copyFileSync(new URL('runtimes.program.mjs', import.meta.url), path.join(project, 'main.mjs'));
  redis = await startRedis();
});

afterAll(async () => {
  rmSync(project, { recursive: true, force: true });
  await redis?.close();
});

/** The name of the runtime, how it runs a file, and how its version begins. */
const RUNTIMES: readonly (readonly [name: string, args: readonly string[], version: RegExp])[] = [
  ['node-22', [], /^v22\./],
  ['node-24', [], /^v24\./],
  ['node-26', [], /^v26\./],
  ['bun', ['run'], /^1\./],
  ['deno', ['run', '--allow-all', '--node-modules-dir=manual'], /^deno 2\./],
];

/** The command must succeed and print only its answer: a warning is a failure, too. */
function run(program: string, args: readonly string[]): string {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !name.startsWith('VITEST') && name !== 'NODE_OPTIONS',
    ),
  );
  const { status, signal, stdout, stderr } = spawnSync(program, args, {
    cwd: project,
    encoding: 'utf8',
    env: { ...env, DENO_NO_UPDATE_CHECK: '1' },
    timeout: 60_000,
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  return stdout;
}

function expectAll(program: string, args: readonly string[]): void {
  const given = JSON.stringify({ entries, redis: redis.url });
  const answer = JSON.parse(run(program, [...args, 'main.mjs', given]));
  const exact = { allowed: 30, degraded: 0, inOrder: true };
  expect(answer).toEqual({
    imported: Object.fromEntries(entries.map((entry) => [entry, expect.stringMatching(/./)])),
    required: answer.imported,
    memory: exact,
    redis: exact,
  });
}

describe('every entry imported and required, exact in memory and on a Redis by its URL', () => {
  test(`the Node running the tests works, ${process.version}`, () => {
    expectAll(process.execPath, []);
  });

  test.each(RUNTIMES)(
    'the runtime works: %s',
    (name, args, version) => {
      const program = installRuntime(name);
      // A platform for which npm has no runtime; for Linux, where CI runs, it has all.
      if (program === undefined) {
        expect(process.platform).not.toBe('linux');
        return;
      }
      expect(run(program, ['--version'])).toMatch(version);
      expectAll(program, args);
    },
    300_000,
  );
});
