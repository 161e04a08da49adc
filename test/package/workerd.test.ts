import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installRuntime } from '../../scripts/runtimes.mjs';
import { startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startWorkerd } from '../kit/fakes/workerd.ts';
import type { Workerd } from '../kit/fakes/workerd.ts';

const program = installRuntime('workerd');
const UNSUPPORTED = 'ERR_RUNTIME_UNSUPPORTED';
const LIBRARIES = ['ioredis', 'node-redis', 'RedisPort'];

test('npm has workerd for the platform of CI', () => {
  expect(program !== undefined || process.platform !== 'linux').toBe(true);
});

describe.runIf(program !== undefined)('on workerd, the runtime of Cloudflare Workers', () => {
  let folder = '';
  let redis: RedisServer;
  let worker: Workerd;

  const start = (compatibilityDate: string, ...compatibilityFlags: string[]): Promise<Workerd> =>
    startWorkerd(program!, {
      folder,
      compatibilityDate,
      compatibilityFlags,
      redisPort: redis.port,
    });

  /** Sends eight requests at once. */
  const eightTimes = (asked: string): Promise<unknown[]> =>
    Promise.all(Array.from({ length: 8 }, () => worker.get(asked)));

  /** Counts equal answers. */
  const tally = (answers: readonly unknown[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const each of answers.map(String)) {
      counts[each] = (counts[each] ?? 0) + 1;
    }
    return counts;
  };

  beforeAll(async () => {
    folder = newProject('workerd');
    unpackInto(folder);
    linkLibraries(folder, ['ioredis', 'redis', 'hono']);
    writeFileSync(path.join(folder, 'package.json'), '{ "name": "consumer", "private": true }');
    copyFileSync(new URL('workerd.program.mjs', import.meta.url), path.join(folder, 'main.mjs'));
    await build({
      entryPoints: [path.join(folder, 'main.mjs')],
      outfile: path.join(folder, 'worker.mjs'),
      bundle: true,
      format: 'esm',
      platform: 'node',
      // ioredis and node-redis are CommonJS.
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire('/');",
      },
      logLevel: 'warning',
    });
    redis = await startRedis();
    worker = await start('2026-08-04');
  }, 120_000);

  afterAll(async () => {
    await worker?.close();
    await redis?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('a MemoryStore shares one limit among all requests of an isolate', async () => {
    expect(await worker.get('memory')).toBe('within_limit');
    expect(tally(await eightTimes('memory'))).toEqual({ within_limit: 4, limited: 4 });
  });

  test('a call waiting on a MemoryStore passes although the requests before it have ended', async () => {
    expect(tally(await eightTimes('memory-wait?leave'))).toEqual({ left: 8 });
    expect(tally(await eightTimes('memory-wait'))).toEqual({ within_limit: 8 });
  });

  test.each(['web', 'hono'])('the adapter /%s limits with a MemoryStore', async (adapter) => {
    expect(tally(await eightTimes(adapter))).toEqual({ 200: 5, 429: 3 });
  });

  test('every adapter refuses a URL where the limiter is made', async () => {
    const refused = (await worker.get('url')) as Record<string, string>;
    expect(tally(Object.values(refused))).toEqual({ [UNSUPPORTED]: 8 });
  });

  test('refuses a client made outside of requests where the limiter is made', async () => {
    expect(await worker.get('outside')).toBe(UNSUPPORTED);
  });

  describe.each(LIBRARIES)('%s', (library) => {
    test.each(['open', 'closed', 'throw'])(
      'rejects at once what another request asks of a limiter that a request made, whatever `failStrategy`: %s',
      async (failStrategy) => {
        const asked = `shared-limiter/${library}/${failStrategy}`;
        expect(await worker.get(asked)).toBe('within_limit');
        expect(await worker.get(asked)).toBe(UNSUPPORTED);
        expect(tally(await eightTimes(asked))).toEqual({ [UNSUPPORTED]: 8 });
      },
    );

    test('serves only one of several concurrent requests that share a limiter', async () => {
      const answers = await eightTimes(`shared-limiter/${library}`);
      expect(tally(answers)).toEqual({ within_limit: 1, [UNSUPPORTED]: 7 });
    });

    test('every adapter refuses the client of another request where the limiter is made', async () => {
      const asked = `shared-client/${library}`;
      const made = (await worker.get(asked)) as Record<string, string>;
      expect(tally(Object.values(made))).toEqual({ made: 8 });
      const refused = (await worker.get(asked)) as Record<string, string>;
      expect(tally(Object.values(refused))).toEqual({ [UNSUPPORTED]: 8 });
    });

    test('limits exactly when each request has its own client and limiter', async () => {
      const decisions = (await eightTimes(`own/${library}`)).flat();
      expect(tally(decisions)).toEqual({ within_limit: 5, limited: 11 });
    });
  });

  test.each(['ioredis', 'node-redis'])(
    'never lets a call pass on a client of %s that an earlier request connected',
    async (library) => {
      expect(await worker.get(`used-client/${library}?use`)).toBe('PONG');
      expect(await worker.get(`used-client/${library}`)).toBe(UNSUPPORTED);
      expect(tally(await eightTimes(`used-client/${library}`))).toEqual({ [UNSUPPORTED]: 8 });
    },
  );

  test('limits exactly with one guard per request, and does not warn', async () => {
    expect(tally(await eightTimes('own-web'))).toEqual({ 200: 5, 429: 3 });
    expect(await worker.get('warnings')).toEqual([]);
  });

  test('a Durable Object limits exactly with one client for all its requests', async () => {
    expect(tally(await eightTimes('object'))).toEqual({ within_limit: 5, limited: 3 });
  });

  test('loads with `nodejs_compat` and a compatibility date of 2026-03-17 or later', async () => {
    const older = await start('2026-03-17', 'nodejs_compat');
    try {
      expect(await older.get('memory')).toBe('within_limit');
      expect(await older.get('outside')).toBe(UNSUPPORTED);
    } finally {
      await older.close();
    }
  });

  test('workerd refuses at the start to load it without `nodejs_compat`', async () => {
    await expect(start('2026-03-17')).rejects.toThrow('No such module "node:');
  });
});
