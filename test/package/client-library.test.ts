import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

/** The answer of every verb of a limiter by URL, and of `ready()`. */
const PROGRAM = `
import { RateLimiter } from 'distributed-rate-limiter';
for (const failStrategy of ['open', 'closed', 'throw']) {
  const limiter = new RateLimiter({
    redis: 'redis://127.0.0.1:1', rate: 5, period: '1m', failStrategy, namespace: failStrategy, onError() {},
  });
  const verbs = {
    allow: () => limiter.allow('a'), peek: () => limiter.peek('a'), wait: () => limiter.wait('a'),
    allowUpTo: () => limiter.allowUpTo('a', 2), reserve: () => limiter.reserve('a', { cost: 1, ttl: '1m' }),
    penalize: () => limiter.penalize('a', 1), reset: () => limiter.reset('a'), ready: () => limiter.ready(),
  };
  for (const [verb, call] of Object.entries(verbs)) {
    const outcome = await call().then(() => 'resolved', (error) => error.code + ' ' + (error.cause?.message ?? ''));
    console.log(failStrategy, verb, outcome.split('\\n')[0]);
  }
  await limiter.close();
}
`;

describe('a client library missing for a URL', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'drl-library-'));
    const library = path.join(folder, 'node_modules/distributed-rate-limiter');
    await cp(path.join(root, 'dist'), path.join(library, 'dist'), { recursive: true });
    await cp(path.join(root, 'package.json'), path.join(library, 'package.json'));
    await writeFile(path.join(folder, 'program.mjs'), PROGRAM);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function outcomes(libraries: Record<string, string>): Promise<string[]> {
    for (const name of ['ioredis', 'redis']) {
      const place = path.join(folder, 'node_modules', name);
      await rm(place, { recursive: true, force: true });
      const code = libraries[name];
      if (code !== undefined) {
        await mkdir(place, { recursive: true });
        await writeFile(path.join(place, 'index.js'), code);
      }
    }
    const { stdout } = await run(process.execPath, ['program.mjs'], { cwd: folder });
    return stdout.trim().split('\n');
  }

  test.each([
    ['is not installed', {}, /ERR_CLIENT_MISSING Cannot find package/],
    [
      'fails while it is loaded',
      { ioredis: 'throw new Error("half a build")' },
      /ERR_CLIENT_MISSING half a build/,
    ],
    [
      'lacks a package of its own',
      { redis: 'require("a-package-of-its-own")' },
      /ERR_CLIENT_MISSING .*a-package-of-its-own/,
    ],
    ['is an empty module', { ioredis: 'module.exports = {}' }, /ERR_CLIENT_MISSING/],
    [
      'makes no client',
      { ioredis: 'exports.Redis = function () { throw new Error("no client") }' },
      /ERR_CLIENT_MISSING no client/,
    ],
  ])(
    'every call rejects, whatever `failStrategy`, when the library %s',
    async (_, libraries, expected) => {
      const lines = await outcomes(libraries);
      expect(lines).toHaveLength(24);
      expect(lines.filter((line) => !expected.test(line))).toEqual([]);
    },
  );
});
