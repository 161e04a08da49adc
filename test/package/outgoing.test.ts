/** Runs the code of docs/functions.md for HTTP clients with the clients themselves. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { eventually } from '../kit/fakes/eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const packages = path.join(root, 'test/installs/outgoing');
const folder = { path: '' };

beforeAll(() => {
  ensurePackagesOf(packages, 'undici, axios and ky');
  folder.path = mkdtempSync(path.join(packages, '.snippets-'));
});
afterAll(() => rmSync(folder.path, { recursive: true, force: true }));

type Get = (url: string) => Promise<number>;

/** What the code of the page makes with each client, and how a request is sent with it. */
const CLIENTS: Readonly<Record<string, readonly [made: string, get: string]>> = {
  undici: [
    'dispatcher',
    `import { request } from 'undici';
     export const getWith = (dispatcher) => async (url) => {
       const { statusCode, body } = await request(url, { dispatcher });
       await body.dump();
       return statusCode;
     };`,
  ],
  axios: ['api', 'export const getWith = (api) => async (url) => (await api.get(url)).status;'],
  ky: ['api', 'export const getWith = (api) => async (url) => (await api.get(url)).status;'],
};

/** The code of the page for a client, as a function of the limiter. */
async function load(client: string): Promise<(limiter: RateLimiter) => Get> {
  const page = readFileSync(path.join(root, 'docs/functions.md'), 'utf8');
  const block = new RegExp(`^\`\`\`js\\n(import [^\\n]* from '${client}';)\\n(.*?)^\`\`\`$`, 'ms');
  const [, imported, code] = block.exec(page)!;
  const [made, get] = CLIENTS[client]!;
  const file = path.join(folder.path, `${client}.mjs`);
  writeFileSync(
    file,
    `${imported}\n${get}\nexport function make(limiter) {\n${code}\nreturn getWith(${made});\n}\n`,
  );
  const module: { make: (limiter: RateLimiter) => Get } = await import(
    /* @vite-ignore */ pathToFileURL(file).href
  );
  return module.make;
}

/** A server that answers with these statuses, then with 200. */
async function serve(...statuses: number[]) {
  const served = { url: '', requests: 0 };
  const server = createServer((_, response) => {
    served.requests += 1;
    response.writeHead(statuses.shift() ?? 200, { 'retry-after': '0' }).end('done');
  }).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  served.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return served;
}

function limited() {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  return { clock, limiter: new RateLimiter({ store, rate: 2, period: '20s' }) };
}

describe.each(Object.keys(CLIENTS))('%s', (client) => {
  test('sends as many requests as the limit allows, and the others in their turn', async () => {
    const { clock, limiter } = limited();
    const get = (await load(client))(limiter);
    const server = await serve();
    const statuses = Array.from({ length: 4 }, () => get(server.url));
    await Promise.all(statuses.slice(0, 2));
    expect(server.requests).toBe(2);
    for (const sent of [3, 4]) {
      clock.advance('10s');
      await eventually(() => expect(server.requests).toBe(sent));
    }
    expect(await Promise.all(statuses)).toEqual([200, 200, 200, 200]);
  });

  test('rejects a request that would wait too long, and does not send it', async () => {
    const { clock, limiter } = limited();
    const get = (await load(client))(limiter);
    const server = await serve();
    const { host } = new URL(server.url);
    await limiter.allow(host, { cost: 2 });
    const waiting = Array.from({ length: 4 }, () => limiter.wait(host));
    const late = get(server.url).catch((error: { code?: string; cause?: { code?: string } }) => [
      error.code ?? error.cause?.code,
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance('31s');
    expect(await late).toEqual(['ERR_WAIT_TIMEOUT']);
    expect(server.requests).toBe(0);
    await limiter.close();
    await Promise.allSettled(waiting);
  });
});

test('retries of ky wait, too', async () => {
  const { clock, limiter } = limited();
  const get = (await load('ky'))(limiter);
  const server = await serve(503, 503);
  const status = get(server.url);
  await eventually(() => expect(server.requests).toBe(2));
  clock.advance('9999ms');
  await new Promise((resolve) => setImmediate(resolve));
  expect(server.requests).toBe(2);
  clock.advance('1ms');
  expect(await status).toBe(200);
  expect(server.requests).toBe(3);
});
