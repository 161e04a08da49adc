import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import process from 'node:process';
import { afterEach, describe, expect, test } from 'vitest';
import { readDemoOptions } from '../../../demo/options.mjs';
import { prove } from '../../../demo/proof.mjs';
import {
  freePort,
  scriptCalls,
  startFaultProxy,
  startRedis,
  waitUntil,
} from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { startCommand } from '../../kit/servers/command.mjs';
import type { Running } from '../../kit/servers/command.mjs';
import { startDemo } from './running.mjs';
import type { RunningDemo } from './running.mjs';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function start(command: readonly string[]): Running {
  const run = startCommand(command);
  cleanups.push(run.close);
  return run;
}

function demo(flags: string, env?: Record<string, string>): RunningDemo {
  const run = startDemo(flags, env);
  cleanups.push(run.close);
  return run;
}

async function redis(options?: Parameters<typeof startRedis>[0]): Promise<RedisServer> {
  const server = await startRedis(options);
  cleanups.push(() => server.close());
  return server;
}

/** Parses the rows of the proof's table. */
function sharesIn(output: string) {
  const rows = output.matchAll(/worker +(\d+) +pid (\d+) +(\d+) answered +(\d+) admitted/g);
  return [...rows].map((row) => {
    const [worker, pid, answered, admitted] = row.slice(1).map(Number);
    return { worker: worker!, pid: pid!, answered: answered!, admitted: admitted! };
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Body {
  allowed?: boolean;
  reason?: string;
  remaining?: number;
  retryAfterMs?: number;
  degraded?: boolean;
  error?: string;
  status?: number;
  type?: string;
  worker?: number;
  hello?: Body;
  export?: Body;
}

/** Uses a new connection for each request, as curl does, so that the workers take turns. */
async function curl(url: string, headers: Record<string, string> = {}, method = 'GET') {
  const response = await fetch(url, { method, headers: { connection: 'close', ...headers } });
  const body = (await response.json()) as Body;
  const field = (name: string) => response.headers.get(name);
  return {
    status: response.status,
    retryAfter: field('retry-after'),
    rateLimit: field('ratelimit'),
    worker: Number(field('x-worker')),
    body,
  };
}

const exact = /sum +400 answered +100 admitted {2}= the limit of 100, exactly/;

describe("the demo's proof", () => {
  test('in memory, one process admits exactly the limit, and the demo ends', async () => {
    const run = demo('--once');
    expect(await run.exitCode).toBe(0);
    expect(run.output()).toMatch(
      /pid \d+ +400 answered +100 admitted {2}= the limit of 100, exactly/,
    );
    expect(run.output()).toContain('limits live in its memory');
    expect(run.output()).not.toContain('\u001B[');
  });

  test('`npm run demo -- --redis --once` works as typed', async () => {
    const run = start(['npm', 'run', 'demo', '--', '--port', '0', '--redis', '--once']);
    expect(await run.exitCode).toBe(0);
    expect(run.output()).toMatch(/400 answered +100 admitted {2}= the limit of 100, exactly/);
    const pid = Number(/private redis-server \([\d.:]+, pid (\d+)\)/.exec(run.output())?.[1]);
    expect(isAlive(pid)).toBe(false);
  });

  test('four workers behind one port together admit exactly the limit', async () => {
    const run = demo('--workers 4 --redis --once');
    expect(await run.exitCode).toBe(0);
    const shares = sharesIn(run.output());
    expect(shares.map(({ worker }) => worker)).toEqual([1, 2, 3, 4]);
    expect(new Set(shares.map(({ pid }) => pid)).size).toBe(4);
    expect(sum(shares.map(({ admitted }) => admitted))).toBe(100);
    expect(sum(shares.map(({ answered }) => answered))).toBe(400);
    expect(run.output()).toMatch(exact);
    expect(shares.filter(({ pid }) => isAlive(pid))).toEqual([]);
  });

  const lies = [
    {
      what: 'two processes that share nothing',
      admit: (worker: number, nth: number) => nth <= 10,
      failure: '20 of 40 requests were admitted; exactly 10 had to be.',
    },
    {
      what: 'a limit that is too strict',
      admit: (worker: number, nth: number) => worker === 1 && nth <= 9,
      failure: '9 of 40 requests were admitted; exactly 10 had to be.',
    },
    {
      what: 'a store that is away',
      admit: () => undefined,
      failure:
        '40 of 40 requests got no decision (the first: 503 Not decided), so the sum says nothing.',
    },
  ];
  test.each(lies)('fails for $what', async ({ admit, failure }) => {
    let requests = 0;
    const seen = [0, 0, 0];
    const server = createServer((_request, response) => {
      const worker = (requests++ % 2) + 1;
      seen[worker]! += 1;
      const allowed = admit(worker, seen[worker]!);
      response.statusCode = allowed === undefined ? 503 : allowed ? 200 : 429;
      response.setHeader('X-Worker', worker);
      response.end(JSON.stringify({ title: 'Not decided', degraded: allowed === undefined }));
    });
    const outcome = await prove({ ...(await listen(server)), limit: 10, requests: 40, workers: 2 });
    expect(outcome.failure).toBe(failure);
  });

  test('fails when a worker took no part, and when the server does not answer', async () => {
    let requests = 0;
    const server = createServer((_request, response) => {
      response.statusCode = requests++ < 10 ? 200 : 429;
      response.setHeader('X-Worker', 1).end('{}');
    });
    const burst = { ...(await listen(server)), limit: 10, requests: 40, workers: 2 };
    expect((await prove(burst)).failure).toContain('Worker 2 answered nothing');
    const nobody = `http://127.0.0.1:${await freePort()}/`;
    expect((await prove({ ...burst, url: nobody })).failure).toContain('ECONNREFUSED');
  });
});

test('a demo whose proof fails prints why, exits with 1 and leaves no process', async () => {
  const server = await redis();
  const proxy = await startFaultProxy(server);
  cleanups.push(() => proxy.close());
  // `ready` uses its own keys, the first key of all among them. The proof calls for one key repeatedly.
  let first: string | undefined;
  const asked = new Map<string, number>();
  const isProof = ([, , , key = '']: string[]): boolean => {
    first ??= key;
    asked.set(key, (asked.get(key) ?? 0) + 1);
    return key !== first && asked.get(key)! > 5;
  };
  await proxy.reply('-OOM command not allowed', {
    only: (command) => scriptCalls(command) && isProof(command),
  });
  const run = demo('--workers 2', { REDIS_URL: proxy.url });
  expect(await run.exitCode).toBe(1);
  expect(run.output()).toMatch(
    /The proof failed\. \d+ of 400 requests got no decision \(the first: 503 Request cannot be checked/,
  );
  expect(run.output()).toMatch(/admitted {2}the limit is 100/);
  expect(sharesIn(run.output()).filter(({ pid }) => isAlive(pid))).toEqual([]);
});

async function listen(server: Server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, connections: 8 };
}

describe("the demo's API", () => {
  test('on a given Redis, limits, peeks, answers while Redis is away, recovers, and ends on Ctrl-C', async () => {
    const server = await redis({ password: 'canary-password' });
    const run = demo('--workers 2', { REDIS_URL: server.url });
    const base = await run.origin();
    expect(run.output()).toContain(`the Redis of REDIS_URL (127.0.0.1:${server.port})`);
    expect(run.output()).not.toContain('canary-password');

    const first = await curl(`${base}/hello`);
    expect(first).toMatchObject({
      status: 200,
      retryAfter: null,
      body: { allowed: true, reason: 'within_limit', remaining: 4, degraded: false },
    });
    const answers = [first];
    while (answers.at(-1)?.status === 200 && answers.length < 40) {
      answers.push(await curl(`${base}/hello`));
    }
    const refused = answers.at(-1)!;
    // The library's own response tells the wait once, in two fields.
    expect(refused).toMatchObject({
      status: 429,
      body: {
        status: 429,
        type: expect.stringMatching(/#quota-exceeded$/),
        'violated-policies': ['default'],
      },
      rateLimit: `"default";r=0;t=${refused.retryAfter}`,
    });
    expect(answers.length).toBeGreaterThan(5);
    expect(new Set(answers.map(({ worker }) => worker))).toEqual(new Set([1, 2]));

    const alice = { 'x-api-key': 'alice' };
    expect((await curl(`${base}/hello`, alice)).body.remaining).toBe(4);
    for (const _ of [1, 2]) {
      const { body } = await curl(`${base}/peek`, alice);
      expect(body).toMatchObject({ hello: { allowed: true }, export: { remaining: 100 } });
    }
    // An API key never equals an address.
    const posing = await curl(`${base}/hello`, { 'x-api-key': '127.0.0.1' });
    expect(posing.body.remaining).toBe(4);
    // The proof's key has no units on any worker, for minutes.
    const spent = /proof-[0-9a-f-]{36}/.exec(run.output())?.[0] ?? '';
    for (const _ of [1, 2, 3]) {
      const { status, retryAfter } = await curl(`${base}/export`, { 'x-api-key': spent });
      expect(status).toBe(429);
      expect(Number(retryAfter)).toBeGreaterThan(800);
    }
    expect(await server.keysWithoutTtl()).toEqual([]);

    expect((await curl(base)).status).toBe(200);
    expect((await curl(`${base}/nowhere`)).status).toBe(404);
    expect((await curl(`${base}/__proto__`)).status).toBe(404);
    expect((await curl(`${base}/hello`, alice, 'POST')).status).toBe(405);
    const empty = { 'x-api-key': '' };
    expect((await curl(`${base}/hello`, empty)).status).toBe(400);
    expect(await curl(`${base}/peek`, empty)).toMatchObject({
      status: 400,
      body: { error: expect.stringMatching(/X-API-Key/) },
    });
    const long = await curl(`${base}/hello`, { 'x-api-key': 'k'.repeat(1_025) });
    expect(long.status).toBe(400);

    await server.kill();
    await run.printed(/Redis is away/);
    for (const _ of [1, 2, 3, 4]) {
      expect(await curl(`${base}/hello`)).toMatchObject({
        status: 200,
        body: { allowed: true, degraded: true },
      });
      expect(await curl(`${base}/export`)).toMatchObject({
        status: 503,
        body: { type: expect.stringMatching(/#temporary-reduced-capacity$/) },
      });
    }
    expect((await curl(base)).status).toBe(200);

    await server.start();
    await run.printed(/Redis is back/);
    const back = await curl(`${base}/export`);
    expect(back).toMatchObject({ status: 200, body: { degraded: false, remaining: 99 } });

    run.signal('SIGINT');
    expect(await run.exitCode).toBe(0);
    expect(sharesIn(run.output()).filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(run.output().match(/Redis is /g)).toHaveLength(2);
  });

  test('replaces a killed worker without losing counts, and leaves no process when the demo is killed', async () => {
    const run = demo('--workers 2 --redis');
    const base = await run.origin();
    const redisPid = Number((await run.printed(/redis-server \([\d.:]+, pid (\d+)\)/))[1]);
    const [one, two] = sharesIn(run.output()).map(({ pid }) => pid);
    const spent = { 'x-api-key': /proof-[0-9a-f-]{36}/.exec(run.output())?.[0] ?? '' };

    process.kill(one!, 'SIGKILL');
    await run.printed(/Worker 1 ended; another one took its place/);
    const answers = [await curl(`${base}/export`, spent), await curl(`${base}/export`, spent)];
    expect(answers.map(({ status }) => status)).toEqual([429, 429]);

    run.signal('SIGKILL');
    await run.exitCode;
    await waitUntil('all processes to end', () => !isAlive(two!) && !isAlive(redisPid));
    await expect(fetch(base)).rejects.toThrow('fetch failed');
  });

  test('restarts its private Redis after it is killed', async () => {
    const run = demo('--redis');
    const base = await run.origin();
    const redisPid = Number((await run.printed(/redis-server \([\d.:]+, pid (\d+)\)/))[1]);
    process.kill(redisPid, 'SIGKILL');
    await run.printed(/Redis is away/);
    expect((await curl(`${base}/hello`)).body).toMatchObject({ allowed: true, degraded: true });
    await run.printed(/Redis is back/);
    expect((await curl(`${base}/hello`)).body).toMatchObject({ remaining: 4, degraded: false });
    run.signal('SIGTERM');
    expect(await run.exitCode).toBe(0);
  });
});

describe("the demo's command line", () => {
  test.each([
    ['--workers 4', 'npm run demo -- --workers 4 --redis'],
    ['--workers 0 --redis', "--workers must be a whole number from 1 to 16, got '0'"],
    ['--workers 17 --redis', 'from 1 to 16'],
    ['--workers two --redis', "got 'two'"],
    ['--workers 1.5 --redis', "got '1.5'"],
    ['--port 65536', '--port must be a whole number from 0 to 65535'],
    ['--port -1', "'--port' argument is ambiguous"],
    ['--port=', "got ''"],
    ['--port', "'--port <value>' argument missing"],
    ['--wrokers 4', "Unknown option '--wrokers'."],
    ['--redis=yes', "'--redis' does not take an argument"],
    ['redis', "Unexpected argument 'redis'."],
  ])('%s is refused: %s', (flags, message) => {
    expect(() => readDemoOptions(flags.split(' '), {})).toThrow(message);
  });

  test('names flags that npm kept for itself', () => {
    const env = { npm_lifecycle_event: 'demo', npm_config_redis: 'true' };
    expect(() => readDemoOptions([], env)).toThrow('npm run demo -- --redis');
  });

  test('uses REDIS_URL, unless it is empty or a private server is asked for', () => {
    const env = { REDIS_URL: 'redis://somewhere' };
    expect(readDemoOptions(['--workers', '2'], env)).toMatchObject({ redisUrl: env.REDIS_URL });
    expect(readDemoOptions(['--redis'], env)).toMatchObject({ redisUrl: undefined });
    expect(readDemoOptions([], { REDIS_URL: '' })).toMatchObject({
      redisUrl: undefined,
      port: 3000,
    });
  });

  test('prints a refusal as one message, exits with 2 and starts nothing', async () => {
    const run = demo('--workers 4');
    expect(await run.exitCode).toBe(2);
    expect(run.output()).toMatch(
      /^4 workers cannot share limits that live in one process's memory/,
    );
    expect(run.output()).not.toMatch(/\n {4}at /);
  });

  test('takes the next free port when one is taken, and prints it', async () => {
    const taken = await freePort();
    const server = createServer().listen(taken, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(async () => server.close());
    const run = demo(`--once --port ${taken}`);
    expect(await run.exitCode).toBe(0);
    const said = new RegExp(`Port ${taken} is taken; this is (\\d+)`).exec(run.output());
    expect(Number(said?.[1])).toBeGreaterThan(taken);
    expect(run.output()).toContain(`http://127.0.0.1:${said?.[1]}`);
  });

  test.each(['', '--workers 2'])(
    'reports an unreachable Redis with a cure and without the password (%s)',
    async (flags) => {
      const url = `redis://:canary-password@127.0.0.1:${await freePort()}`;
      const run = demo(flags, { REDIS_URL: url });
      expect(await run.exitCode).toBe(1);
      expect(run.output()).toMatch(/^Redis \(127\.0\.0\.1:\d+\) cannot be used: .*ECONNREFUSED/);
      expect(run.output()).toContain('npm run demo -- --redis');
      expect(run.output()).not.toMatch(/canary-password|\n {4}at /);
    },
  );
});
