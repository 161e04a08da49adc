import { execFile } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as core from 'distributed-rate-limiter';
import * as testing from 'distributed-rate-limiter/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installRuntime } from '../../scripts/runtimes.mjs';
import { unpackInto } from '../kit/fakes/packed.ts';
import { newProject } from '../kit/fakes/project.ts';
import { startRedis } from '../kit/servers/index.mjs';
import { bunSettings } from '../redis-server/contracts/recommended.ts';
import { casesOf } from './bun-client.cases.mjs';

const program = installRuntime('bun');
const unused = (): never => {
  throw new Error('only the names are wanted');
};
const names = casesOf({
  core,
  testing,
  RedisClient: unused as never,
  relay: { host: '', port: 0, lose: unused, stall: unused, restore: unused, close: unused },
  url: '',
  pid: 0,
  settings: bunSettings,
}).map(({ name }) => name);

test('npm has Bun for the platform of CI', () => {
  expect(program !== undefined || process.platform !== 'linux').toBe(true);
});

describe.runIf(program !== undefined)('the `RedisClient` of Bun, in Bun', () => {
  let project = '';
  let outcomes: readonly { readonly name: string; readonly error?: string }[] = [];

  beforeAll(async () => {
    project = newProject('bun-client');
    unpackInto(project);
    writeFileSync(path.join(project, 'package.json'), '{ "name": "consumer", "private": true }');
    const files = [
      new URL('bun-client.program.mjs', import.meta.url),
      new URL('bun-client.cases.mjs', import.meta.url),
    ];
    for (const file of files) {
      copyFileSync(file, path.join(project, path.basename(fileURLToPath(file))));
    }
    const redis = await startRedis();
    try {
      const { url, port, pid } = redis;
      const given = JSON.stringify({ url, port, pid, settings: bunSettings });
      const args = ['run', 'bun-client.program.mjs', given];
      const { stdout } = await promisify(execFile)(program!, args, { cwd: project });
      outcomes = JSON.parse(stdout);
    } finally {
      await redis.close();
    }
  }, 300_000);
  afterAll(() => {
    rmSync(project, { recursive: true, force: true });
  });

  test.each(names)('%s', (name) => {
    expect(outcomes.find((each) => each.name === name)).toEqual({ name });
  });
});
