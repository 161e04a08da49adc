/** Runs each recipe as a reader does: with plain Node, the built package and the real framework. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { installRuntime } from '../../scripts/runtimes.mjs';
import { ask, askFrom, statusesOf } from '../kit/fakes/ask.ts';
import { linkLibraries, newProject } from '../kit/fakes/project.ts';
import { startCommand } from '../kit/servers/command.mjs';
import { startRedis, waitUntil } from '../kit/servers/index.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = path.join(root, 'test/installs/recipes');
const modules = path.join(folder, 'node_modules');
const recipes = readdirSync(path.join(root, 'examples/recipes')).filter((name) =>
  name.endsWith('.mjs'),
);

/** The used part of a client of `ws`. */
interface WebSocketClient extends NodeJS.EventEmitter {
  send(text: string): void;
  close(): void;
}

/** The used part of a client of Socket.IO. */
interface SocketIoClient {
  emitWithAck(event: string, text: string): Promise<unknown>;
  once(event: string, listener: (argument: Error & { data?: unknown }) => void): void;
  disconnect(): void;
}

let project = '';
let WebSocket: new (url: string) => WebSocketClient;
let connectSocketIo: (url: string, options: object) => SocketIoClient;

beforeAll(() => {
  ensurePackagesOf(folder, 'the frameworks of the recipes');
  project = newProject('recipes');
  mkdirSync(path.join(project, 'node_modules'));
  for (const each of ['recipes', 'shared']) {
    cpSync(path.join(root, 'examples', each), path.join(project, each), { recursive: true });
  }
  const libraries = [
    '@elysiajs/node',
    '@trpc/server',
    'bullmq',
    'elysia',
    'graphql',
    'graphql-yoga',
    'h3',
    'socket.io',
    'ws',
  ];
  linkLibraries(project, [...libraries, 'distributed-rate-limiter', 'ioredis'], {
    ...Object.fromEntries(libraries.map((name) => [name, path.join(modules, name)])),
    'distributed-rate-limiter': root,
  });
  const load = createRequire(path.join(modules, 'index.js'));
  ({ WebSocket } = load('ws') as { WebSocket: typeof WebSocket });
  ({ io: connectSocketIo } = load('socket.io-client') as { io: typeof connectSocketIo });
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function start(
  recipe: string,
  env?: Record<string, string>,
  role: readonly string[] = [],
  runtime: string = process.execPath,
): Promise<{ origin: string; end: () => Promise<number | null> }> {
  const run = startCommand([runtime, path.join(project, 'recipes', recipe), ...role], env);
  cleanups.push(run.close);
  const [, origin = ''] = await run.printed(/^(http:\S+)\n/m);
  return {
    origin,
    end: () => {
      run.signal('SIGTERM');
      return run.exitCode;
    },
  };
}

async function openWebSocket(origin: string): Promise<WebSocketClient> {
  const socket = new WebSocket(origin.replace('http:', 'ws:'));
  cleanups.push(() => socket.close());
  await once(socket, 'open');
  return socket;
}

async function say(socket: WebSocketClient, text: string): Promise<string> {
  const answer = once(socket, 'message');
  socket.send(text);
  return String((await answer)[0]);
}

/** Resolves to the client, or to the data of the error that refuses it. */
async function openSocketIo(origin: string): Promise<SocketIoClient | { refused: unknown }> {
  const client = connectSocketIo(origin, { reconnection: false, forceNew: true });
  cleanups.push(() => client.disconnect());
  return new Promise((resolve) => {
    client.once('connect', () => resolve(client));
    client.once('connect_error', ({ data }) => {
      client.disconnect();
      resolve({ refused: data });
    });
  });
}

test('the README of the examples lists each recipe', () => {
  const list = readFileSync(path.join(root, 'examples/README.md'), 'utf8');
  expect(recipes.length).toBeGreaterThan(4);
  for (const recipe of recipes) expect(list).toContain(`(recipes/${recipe})`);
});

describe('trpc.mjs', () => {
  test('refuses the sixth call with 429 and a wait, and ends when told to', async () => {
    const { origin, end } = await start('trpc.mjs');
    const responses = await ask(6, `${origin}/hello`);
    expect(statusesOf(responses)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await responses[0]!.json()).toEqual({ result: { data: 'hello' } });
    expect(responses[5]!.headers.get('retry-after')).toMatch(/^1[0-2]$/);
    expect(await responses[5]!.json()).toMatchObject({
      error: { data: { code: 'TOO_MANY_REQUESTS' } },
    });
    expect(await end()).toBe(0);
  });

  test('charges each call of a batch its own cost', async () => {
    const { origin } = await start('trpc.mjs');
    const [first, second] = await ask(2, `${origin}/hello,report?batch=1`);
    expect(await first!.json()).toEqual([
      { result: { data: 'hello' } },
      { result: { data: 'a report' } },
    ]);
    // One unit is left: enough for `hello`, and two too few for `report`.
    expect(await second!.json()).toEqual([
      { result: { data: 'hello' } },
      { error: expect.objectContaining({ data: expect.objectContaining({ httpStatus: 429 }) }) },
    ]);
    expect(second!.headers.get('retry-after')).toMatch(/^3[4-6]$/);
  });
});

describe('graphql-yoga.mjs', () => {
  test('charges an operation its fields, and refuses with 429 and a wait', async () => {
    const { origin, end } = await start('graphql-yoga.mjs');
    const responses = await ask(3, `${origin}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ hello city }' }),
    });
    expect(statusesOf(responses)).toEqual([200, 200, 429]);
    expect(await responses[0]!.json()).toEqual({ data: { hello: 'hello', city: 'Berlin' } });
    expect(responses[2]!.headers.get('retry-after')).toMatch(/^1[0-2]$/);
    expect(await responses[2]!.json()).toMatchObject({
      errors: [{ extensions: { code: 'RATE_LIMITED' } }],
    });
    const [one] = await ask(1, `${origin}/graphql?query={hello}`);
    expect(one!.status, 'one field is left').toBe(200);
    expect(await end()).toBe(0);
  });
});

describe('bullmq.mjs', () => {
  test('reserves in the API, settles once in the worker, and cancels a job that fails', async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const env = { REDIS_URL: redis.url };
    const { origin, end } = await start('bullmq.mjs', env);
    const headers = { 'x-user': 'ada', 'x-text': 'twelve chars' };
    const left = async (): Promise<string> => (await ask(1, origin, { headers }))[0]!.text();
    const [queued] = await ask(1, origin, { method: 'POST', headers });
    const doomed = { method: 'POST', headers: { ...headers, 'x-text': 'broken' } };
    const [broken] = await ask(1, origin, doomed);
    expect(statusesOf([queued!, broken!])).toEqual([202, 202]);
    expect(await left()).toBe('60');

    const worker = await start('bullmq.mjs', env, ['worker']);
    await waitUntil('the worker has settled', async () => (await left()) === '88');
    const again = await start('bullmq.mjs', env, ['worker']);
    expect(statusesOf(await ask(1, origin, { method: 'POST', headers }))).toEqual([202]);
    await waitUntil('one of two workers has settled', async () => (await left()) === '76');
    for (const each of [worker.end, again.end, end]) expect(await each()).toBe(0);
  });
});

describe('h3.mjs', () => {
  test('announces what is left, and refuses the sixth request', async () => {
    const { origin, end } = await start('h3.mjs');
    const responses = await ask(6, origin);
    expect(statusesOf(responses)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await responses[0]!.text()).toBe('hello');
    expect(responses[1]!.headers.get('ratelimit')).toMatch(/^"default";r=3;t=2\d$/);
    expect(responses[5]!.headers.get('retry-after')).toMatch(/^1[0-2]$/);
    expect(responses[5]!.headers.get('content-type')).toBe('application/problem+json');
    expect(await end()).toBe(0);
  });

  test("leaves errors to the framework's own handling", async () => {
    const { origin } = await start('h3.mjs');
    expect(statusesOf(await ask(2, `${origin}/broken`))).toEqual([500, 500]);
    const [missing] = await ask(1, `${origin}/missing`);
    expect(missing!.status).toBe(404);
    expect((await ask(1, origin))[0]!.headers.get('ratelimit')).toMatch(/^"default";r=1;/);
  });
});

describe.each(['node', 'bun'])('elysia.mjs on %s', (name) => {
  let runtime = '';
  beforeAll(() => {
    const program = name === 'bun' ? installRuntime(name) : process.execPath;
    if (program === undefined) throw new Error(`npm has no ${name} for ${process.platform}`);
    runtime = program;
  }, 300_000);

  test('announces what is left, and calls no handler of the sixth request', async () => {
    const { origin, end } = await start('elysia.mjs', {}, [], runtime);
    const responses = await ask(6, origin);
    expect(statusesOf(responses)).toEqual([200, 200, 200, 200, 200, 429]);
    expect(await responses[0]!.text()).toBe('hello, visitor 1');
    expect(responses[1]!.headers.get('ratelimit')).toMatch(/^"default";r=3;t=2\d$/);
    expect(responses[5]!.headers.get('retry-after')).toMatch(/^1[0-2]$/);
    expect(responses[5]!.headers.get('content-type')).toBe('application/problem+json');
    expect(await askFrom('127.0.0.2', origin)).toEqual({ status: 200, body: 'hello, visitor 6' });
    expect(await end()).toBe(0);
  });

  test('limits all that the application serves', async () => {
    const { origin } = await start('elysia.mjs', {}, [], runtime);
    const statuses = async () => {
      const paths = ['static', 'broken', 'missing', 'mounted/here', ''];
      return Promise.all(paths.map((each) => askFrom('127.0.0.1', `${origin}/${each}`)));
    };
    expect((await statuses()).map(({ status }) => status)).toEqual([200, 500, 404, 200, 200]);
    expect((await statuses()).map(({ status }) => status)).toEqual([429, 429, 429, 429, 429]);
  });

  test('counts by the address of the connection, whatever a header says', async () => {
    const { origin } = await start('elysia.mjs', {}, [], runtime);
    const statuses: unknown[] = [];
    for (let i = 1; i <= 6; i++) {
      const headers = { 'x-forwarded-for': `192.0.2.${i}` };
      statuses.push((await askFrom('127.0.0.2', origin, headers)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
  });
});

describe('ws.mjs', () => {
  test('refuses the sixth message, with a wait, and keeps the connection', async () => {
    const { origin, end } = await start('ws.mjs');
    const socket = await openWebSocket(origin);
    for (let i = 1; i <= 5; i++) expect(await say(socket, `m${i}`)).toBe(`you said m${i}`);
    expect(JSON.parse(await say(socket, 'm6'))).toEqual({
      error: 'rate_limited',
      reason: 'limited',
      retryAfterMs: expect.toSatisfy((ms: number) => ms > 10_000 && ms <= 12_000),
    });
    socket.close();
    await once(socket, 'close');
    expect(await end()).toBe(0);
  });

  test('answers a third connection with 429 until one of two has closed', async () => {
    const { origin } = await start('ws.mjs');
    const first = await openWebSocket(origin);
    await openWebSocket(origin);
    await expect(openWebSocket(origin)).rejects.toThrow('429');
    first.close();
    await waitUntil('a place to be free', () =>
      openWebSocket(origin).then(
        () => true,
        () => false,
      ),
    );
  });
});

describe('socket-io.mjs', () => {
  test('refuses the sixth event with an acknowledgement that says so', async () => {
    const { origin, end } = await start('socket-io.mjs');
    const client = (await openSocketIo(origin)) as SocketIoClient;
    for (let i = 1; i <= 5; i++) {
      expect(await client.emitWithAck('say', `m${i}`)).toEqual({ said: `m${i}` });
    }
    expect(await client.emitWithAck('say', 'm6')).toEqual({
      error: 'rate_limited',
      retryAfterMs: expect.toSatisfy((ms: number) => ms > 10_000 && ms <= 12_000),
    });
    client.disconnect();
    expect(await end()).toBe(0);
  });

  test('refuses a third connection until one of two has closed', async () => {
    const { origin } = await start('socket-io.mjs');
    const first = (await openSocketIo(origin)) as SocketIoClient;
    await openSocketIo(origin);
    expect(await openSocketIo(origin)).toEqual({ refused: { reason: 'limited' } });
    first.disconnect();
    await waitUntil('a place to be free', async () => !('refused' in (await openSocketIo(origin))));
  });
});

describe('two processes over Redis share the limits of', () => {
  const passes: Record<string, (origin: string) => Promise<boolean>> = {
    'trpc.mjs': async (origin) => (await ask(1, `${origin}/hello`))[0]!.ok,
    'graphql-yoga.mjs': async (origin) => (await ask(1, `${origin}/graphql?query={hello}`))[0]!.ok,
    'bullmq.mjs': async (origin) => (await ask(1, origin, { method: 'POST' }))[0]!.ok,
    'h3.mjs': async (origin) => (await ask(1, origin))[0]!.ok,
    'elysia.mjs': async (origin) => (await ask(1, origin))[0]!.ok,
    'ws.mjs': async (origin) => {
      const socket = await openWebSocket(origin);
      const answer = await say(socket, 'hello');
      socket.close();
      await once(socket, 'close');
      return answer === 'you said hello';
    },
    'socket-io.mjs': async (origin) => {
      const client = (await openSocketIo(origin)) as SocketIoClient;
      const answer = await client.emitWithAck('say', 'hello');
      client.disconnect();
      return (answer as { said?: string }).said === 'hello';
    },
  };

  test.each(recipes)('%s', async (recipe) => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const env = { REDIS_URL: redis.url };
    const [one, other] = await Promise.all([start(recipe, env), start(recipe, env)]);
    const passed: boolean[] = [];
    for (const { origin } of [one, other, one, other, one, other]) {
      // A place of a connection that has closed is free a round trip later.
      passed.push(
        await waitUntil('a connection', async () => [await passes[recipe]!(origin)]).then(
          ([first]) => first!,
        ),
      );
    }
    expect(passed).toEqual([true, true, true, true, true, false]);
    expect([await one.end(), await other.end()]).toEqual([0, 0]);
  });
});
