import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { installRuntime } from '../../scripts/runtimes.mjs';
import {
  freePort,
  openResp,
  startCluster,
  startRedis,
  startRestServer,
  waitUntil,
} from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { ensureClients } from '../installs/clients/install.mjs';
import { unpackInto } from '../kit/fakes/packed.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startWorkerd } from '../kit/fakes/workerd.ts';
import type { Workerd } from '../kit/fakes/workerd.ts';

ensureClients();
const clients = fileURLToPath(new URL('../installs/clients/node_modules', import.meta.url));
const program = installRuntime('workerd');
const UNSUPPORTED = 'ERR_RUNTIME_UNSUPPORTED';
/** Answers with the status of the page's worker. */
const PAGE_MAIN = `
import page from './page.ts';
export default {
  async fetch(request, env, ctx) {
    const isStarting = new URL(request.url).pathname === '/';
    return Response.json(isStarting ? 'ready' : (await page.fetch(request, env, ctx)).status);
  },
};
export class LimiterObject {}
`;
const LIBRARIES = ['ioredis', 'node-redis', 'RedisPort'];

test('npm has workerd for the platform of CI', () => {
  expect(program !== undefined || process.platform !== 'linux').toBe(true);
});

describe.runIf(program !== undefined)('on workerd, the runtime of Cloudflare Workers', () => {
  let folder = '';
  let redis: RedisServer;
  let worker: Workerd;

  const start = (
    compatibilityDate: string,
    compatibilityFlags: readonly string[] = [],
    inFolder = folder,
  ): Promise<Workerd> =>
    startWorkerd(program!, {
      folder: inFolder,
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

  const bundle = async (main: string, outfile: string): Promise<void> => {
    await build({
      entryPoints: [path.join(folder, main)],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      // ioredis and node-redis are CommonJS.
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire('/');",
      },
      logLevel: 'warning',
    });
  };

  beforeAll(async () => {
    folder = newProject('workerd');
    unpackInto(folder);
    linkLibraries(folder, ['ioredis', 'redis', 'hono', '@upstash/redis'], {
      '@upstash/redis': path.join(clients, '@upstash/redis'),
    });
    writeFileSync(path.join(folder, 'package.json'), '{ "name": "consumer", "private": true }');
    copyFileSync(new URL('workerd.program.mjs', import.meta.url), path.join(folder, 'main.mjs'));
    await bundle('main.mjs', path.join(folder, 'worker.mjs'));
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

  describe.each(['ioredis', 'node-redis', 'upstash', 'RedisPort'])(
    '/workers makes a limiter for each request, on %s',
    (library) => {
      let observer: Awaited<ReturnType<typeof openResp>>;
      let rest: Awaited<ReturnType<typeof startRestServer>>;
      let ours: number;
      let own: RedisServer; // other tests leave connections behind

      beforeAll(async () => {
        own = await startRedis();
        observer = await openResp({ port: own.port });
        rest = await startRestServer(own);
        ours = await connected();
      });

      afterAll(async () => {
        observer.close();
        await rest.close();
        await own.close();
      });

      const ask = (what: string, query: Record<string, string> = {}): Promise<unknown> => {
        const place = { port: String(own.port), rest: rest.url, token: rest.token, ...query };
        return worker.get(`workers/${library}/${what}?${String(new URLSearchParams(place))}`);
      };

      const askEightTimes = (what: string, query?: Record<string, string>): Promise<unknown[]> =>
        Promise.all(Array.from({ length: 8 }, () => ask(what, query)));

      const connected = async (): Promise<number> => {
        const list = String(await observer.command('CLIENT', 'LIST', 'TYPE', 'normal'));
        return list.trim().split('\n').length;
      };

      const allClosed = (): Promise<boolean> =>
        waitUntil(
          'the worker has closed every connection',
          async () => (await connected()) === ours,
        );

      test('requests at once and after one another pass exactly as often as the limit says', async () => {
        expect(tally(await askEightTimes('open/allow'))).toEqual({ within_limit: 5, limited: 3 });
        expect(await ask('open/allow')).toBe('limited');
        expect(await ask('open/three', { user: 'user:2' })).toEqual(Array(3).fill('within_limit'));
        expect(await ask('open/three', { user: 'user:2' })).toEqual([
          'within_limit',
          'within_limit',
          'limited',
        ]);
        await allClosed();
      });

      test('a call that the response does not wait for is decided after it', async () => {
        expect(await ask('open/left', { user: 'user:3' })).toBe('left');
        await waitUntil(
          'the call is charged',
          async () => (await ask('open/remaining', { user: 'user:3' })) === 4,
        );
        await allClosed();
      });

      test('a refund long after the last call has a client of its own', async () => {
        expect(await ask('open/late-refund', { user: 'user:4' })).toBe('within_limit');
        expect(await ask('open/remaining', { user: 'user:4' })).toBe(5);
        await allClosed();
      });

      test.each([
        ['open', 'degraded: store_away'],
        ['closed', 'degraded: store_away'],
        ['throw', 'ERR_STORE_AWAY'],
      ])('while Redis is away, `failStrategy` %s decides at once', async (strategy, result) => {
        const port = String(await freePort());
        const nowhere = { port, rest: `http://127.0.0.1:${port}`, user: 'user:5' };
        expect(tally(await askEightTimes(`${strategy}/allow`, nowhere))).toEqual({ [result]: 8 });
        expect(await ask('open/remaining', { user: 'user:5' })).toBe(5);
      });

      test('rejects what another request asks of a limiter that a request left behind', async () => {
        expect(await ask('open/leave-limiter', { user: 'user:6' })).toBe('within_limit');
        expect(tally(await askEightTimes('open/left-limiter', { user: 'user:6' }))).toEqual({
          [UNSUPPORTED]: 8,
        });
        await allClosed();
      });
    },
  );

  test.each(['ioredis', 'node-redis'])(
    '/workers limits users on every node of a cluster exactly, each request on its own cluster client of %s',
    async (library) => {
      const cluster = await startCluster();
      const connections = async (): Promise<number> => {
        const lists = await Promise.all(
          cluster.nodes.map((node) => node.command('CLIENT', 'LIST', 'TYPE', 'normal')),
        );
        return lists.flatMap((list) => String(list).trim().split('\n')).length;
      };
      try {
        const before = await connections();
        const place = { port: String(cluster.nodes[0]!.port) };
        for (let i = 0; i < 6; i++) {
          const query = new URLSearchParams({ ...place, user: `user:${i}` });
          const decisions = await eightTimes(
            `workers/${library}-cluster/open/allow?${String(query)}`,
          );
          expect(tally(decisions)).toEqual({ within_limit: 5, limited: 3 });
        }
        const used = cluster.nodes.map(async (node) => (await node.keyCounts()).keys);
        expect((await Promise.all(used)).filter((keys) => keys > 0).length).toBeGreaterThan(1);
        await waitUntil('all connections are closed', async () => (await connections()) === before);
      } finally {
        await cluster.close();
      }
    },
  );

  test.each(['web', 'hono'])(
    'the guard of /%s limits by a limiter of its request',
    async (adapter) => {
      const statuses = await eightTimes(`workers/ioredis/open/${adapter}`);
      expect(tally(statuses)).toEqual({ 200: 5, 429: 3 });
      expect(await worker.get(`workers/ioredis/open/${adapter}`)).toBe(429);
      expect(await worker.get('warnings')).toEqual([]);
    },
  );

  test('a Durable Object limits exactly with one client for all its requests', async () => {
    expect(tally(await eightTimes('object'))).toEqual({ within_limit: 5, limited: 3 });
  });

  test('the code of docs/clients.md passes as often as it says', async () => {
    const page = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8');
    const [, code = ''] = /^## Cloudflare Workers$.*?^```ts\n(.*?)^```$/ms.exec(page) ?? [];
    writeFileSync(path.join(folder, 'page.ts'), code.replace('rate: 100', 'rate: 3'));
    writeFileSync(path.join(folder, 'page-main.mjs'), PAGE_MAIN);
    const inner = path.join(folder, 'page');
    await bundle('page-main.mjs', path.join(inner, 'worker.mjs'));
    const onPage = await start('2026-08-04', [], inner);
    try {
      const statuses = [];
      for (let i = 0; i < 5; i++) statuses.push(await onPage.get('limited'));
      expect(statuses).toEqual([204, 204, 204, 429, 429]);
    } finally {
      await onPage.close();
    }
  });

  test('loads with `nodejs_compat` and a compatibility date of 2026-03-17 or later', async () => {
    const older = await start('2026-03-17', ['nodejs_compat']);
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
