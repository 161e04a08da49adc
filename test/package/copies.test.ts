import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';

let project = '';
let redis: RedisServer;

beforeAll(async () => {
  project = newProject('copies');
  unpackInto(project);
  linkLibraries(project, ['ioredis', 'prom-client']);
  writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true }');
  copyFileSync(new URL('copies.program.mjs', import.meta.url), path.join(project, 'main.mjs'));
  redis = await startRedis();
});

afterAll(async () => {
  rmSync(project, { recursive: true, force: true });
  await redis?.close();
});

test.each([
  ['one copy, as Node loads it', [], 1],
  ['two copies, as some tools load them', ['--no-experimental-require-module'], 2],
])(
  'the ES modules and the CommonJS of the package work together: %s',
  async (_title, flags, copies) => {
    await redis.command('FLUSHALL');
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...flags, 'main.mjs', redis.url],
      { cwd: project, encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      copies,
      mixed: [true, true, false],
      refunded: 1,
      limited: ['done', true],
      // The client's, that by URL, that of the program's count, and the test's own.
      connections: 4,
      redis: [true, true, false, false],
      exported: [2, 2],
      decisionOf: true,
    });
  },
);
