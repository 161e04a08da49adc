/** Follows docs/command-line.md in an empty folder, with the packed package, word by word. */
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { RateLimiter } from '../../src/index.ts';
import { publishRefusals } from '../../src/refusals/index.ts';
import { packInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startCluster, startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { logOf, madeRequests } from '../unit/cli/logs.ts';

const page = readFileSync(new URL('../../docs/command-line.md', import.meta.url), 'utf8');
const run = promisify(execFile);

/** A command line of the page, and what it prints where the page shows that. */
interface Session {
  readonly line: string;
  readonly prints: string | undefined;
}

const SESSIONS = [...page.matchAll(/^```console\n(.*?)^```$/gms)].flatMap(
  ([, block = '']): Session[] =>
    block.startsWith('$ ')
      ? [
          {
            line: block.slice(2, block.indexOf('\n')),
            prints: block.slice(block.indexOf('\n') + 1),
          },
        ]
      : block
          .trim()
          .split('\n')
          .map((line) => ({ line, prints: undefined })),
);

let project: string;
let redis: RedisServer;

beforeAll(async () => {
  // A Redis that is well, so that `doctor` ends with 0.
  const config = { maxmemory: '100mb', appendonly: 'yes' };
  redis = await startRedis({ config });
  project = newProject('command-line');
  const tarball = packInto(project);
  const options = ['--offline', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['install', ...options, tarball], { cwd: project });
  linkLibraries(project, ['ioredis']);
  writeFileSync(path.join(project, 'access.log'), logOf('combined', madeRequests()));
  const [, limits] = /^```ts\n(\/\/ limits\.mjs\n.*?)^```$/ms.exec(page)!;
  writeFileSync(path.join(project, 'limits.mjs'), limits!);
});

afterAll(async () => {
  await redis.close();
  rmSync(project, { recursive: true, force: true });
});

/** Runs a line of the page as a reader's shell does; servers are where the tests have started them. */
async function shell(line: string, url = redis.url): Promise<{ stdout: string; code: number }> {
  const here = line.replaceAll(/redis:\/\/localhost:\d+/g, url);
  const env = { ...process.env, REDIS_URL: url, NO_COLOR: '1', npm_config_offline: 'true' };
  try {
    const { stdout } = await run('bash', ['-c', here], { cwd: project, env });
    return { stdout, code: 0 };
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
    return { stdout: `${stdout}${stderr}`, code };
  }
}

/** What must be there for a command, by its name. Returns the server to ask. */
const SCENES: Readonly<Record<string, () => Promise<string>>> = {
  suggest: () => Promise.resolve(redis.url),
  replay: () => Promise.resolve(redis.url),
  simulate: () => Promise.resolve(redis.url),
  peek: () => Promise.resolve(redis.url),
  block: () => Promise.resolve(redis.url),
  doctor: () => Promise.resolve(redis.url),
  async 'doctor user:12345'() {
    const config = { maxmemory: '100mb', appendonly: 'yes' };
    const cluster = await startCluster({ node: { config } });
    onTestFinished(() => cluster.close());
    return cluster.nodes[0]!.url;
  },
  /** Two processes, one of which refuses ada 30 times, the other ada 10 times and bob 3 times. */
  async top() {
    for (const calls of [
      ['ada', 31],
      ['ada', 10, 'bob', 4],
    ] as const) {
      const client = new Redis(redis.url);
      onTestFinished(() => client.disconnect());
      const refusals = publishRefusals({ redis: client, namespace: 'api' });
      onTestFinished(() => refusals.close());
      const limiter = new RateLimiter({
        redis: client,
        namespace: 'api',
        rate: 1,
        period: '1h',
        timeoutMs: 10_000,
        onBlock: refusals.onBlock,
      });
      for (let i = 0; i < calls.length; i += 2) {
        for (let j = 0; j < Number(calls[i + 1]); j++) {
          await limiter.allow(String(calls[i]));
        }
      }
    }
    return redis.url;
  },
};

function sceneOf(line: string): (() => Promise<string>) | undefined {
  const words = line.replace('npx distributed-rate-limiter ', '');
  const name = Object.keys(SCENES).findLast((each) => words.startsWith(`${each} `));
  return name === undefined ? undefined : SCENES[name];
}

describe('the page on the command line', () => {
  test('has a scene here for each of its lines, but for the general one', () => {
    expect(SESSIONS.length).toBeGreaterThan(8);
    const without = SESSIONS.filter(({ line }) => sceneOf(line) === undefined);
    expect(without.map(({ line }) => line)).toEqual([
      'npx distributed-rate-limiter <command> [options]',
    ]);
  });

  test.each(SESSIONS.filter(({ line }) => sceneOf(line) !== undefined))(
    'in an empty folder does what it says: $line',
    async ({ line, prints }) => {
      const url = await sceneOf(line)!();
      let { stdout, code } = await shell(line, url);
      // On a busy machine calls may take long, which is then a true finding.
      for (let i = 0; i < 5 && /PROBLEM (?:pings|decisions)/.test(stdout); i++) {
        ({ stdout, code } = await shell(line, url));
      }
      expect({ stdout, code }).toEqual({ stdout: prints ?? expect.stringMatching(/./), code: 0 });
    },
  );

  test('tells a reader without a client library which to install', async () => {
    const ioredis = path.join(project, 'node_modules/ioredis');
    rmSync(ioredis);
    const peek = await shell("npx distributed-rate-limiter peek ada --limit '10/1m'");
    linkLibraries(project, ['ioredis']);
    expect(peek.code).toBe(3);
    expect(peek.stdout).toMatch(/^distributed-rate-limiter: .*npm install ioredis/);
  });
});
