import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { isFromOwnPage } from '../../../demo/same-origin.mjs';
import { startRedis } from '../../kit/servers/index.mjs';
import { startDemo } from './running.mjs';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function demo(flags: string, env?: Record<string, string>): Promise<string> {
  const run = startDemo(flags, env);
  cleanups.push(run.close);
  return run.origin();
}

/** Sends what no browser would let a page send. */
async function ask(url: string, method: string, headers: Record<string, string> = {}) {
  const asking = request(url, { method, headers }).end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
  const { error, ...body } = JSON.parse(text) as Record<string, unknown> & { error?: string };
  return { status: response.statusCode, allow: response.headers.allow, error, body };
}

const DEEDS = [
  'redis/stop',
  'redis/continue',
  'redis/kill',
  'redis/restart',
  'prepay/on',
  'prepay/off',
  'deny-cache/on',
  'deny-cache/off',
];

test.each([
  ['127.0.0.1:3000', 'http://127.0.0.1:3000', true],
  ['localhost:3000', 'http://localhost:3000', true],
  ['[::1]:3000', 'http://[::1]:3000', true],
  ['localhost', 'http://localhost', true],
  ['127.0.0.1:3000', undefined, false],
  ['127.0.0.1:3000', 'null', false],
  ['127.0.0.1:3000', 'http://127.0.0.1:3001', false],
  ['127.0.0.1:3000', 'http://localhost:3000', false],
  ['127.0.0.1:3000', 'https://127.0.0.1:3000', false],
  ['127.0.0.1:3000', 'http://example.com', false],
  // A name that an attacker's DNS server leads to this machine.
  ['example.com:3000', 'http://example.com:3000', false],
  ['127.0.0.1.example.com', 'http://127.0.0.1.example.com', false],
  ['localhost.', 'http://localhost.', false],
  ['localhost:3000@example.com', 'http://localhost:3000@example.com', false],
  ['192.168.0.1:3000', 'http://192.168.0.1:3000', false],
])('a request to Host %s with Origin %s may press a button: %s', (host, origin, may) => {
  const headers = { host, ...(origin === undefined ? {} : { origin }) };
  expect(isFromOwnPage({ headers } as Parameters<typeof isFromOwnPage>[0])).toBe(may);
});

test('the buttons refuse other methods, other origins, and other deeds, and do nothing then', async () => {
  const origin = await demo('--redis');
  const { host } = new URL(origin);
  const before = (await ask(`${origin}/live`, 'GET')).body;
  for (const deed of DEEDS) {
    const url = `${origin}/${deed}`;
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await ask(url, method, { origin });
      expect(answer, method).toMatchObject({ status: 405, allow: 'POST' });
    }
    const foreign: Record<string, string>[] = [
      {},
      { origin: 'null' },
      { origin: 'http://example.com' },
      { origin: `http://${host.replace(/\d+$/, '1')}` },
      { origin: 'http://example.com', host: 'example.com' },
    ];
    for (const headers of foreign) {
      expect((await ask(url, 'POST', headers)).status, JSON.stringify(headers)).toBe(403);
    }
  }
  for (const path of ['redis/shutdown', 'redis', 'redis/stop/', 'redis/stopped', 'prepay']) {
    expect((await ask(`${origin}/${path}`, 'POST', { origin })).status, path).not.toBe(200);
  }
  const { redis, saving } = (await ask(`${origin}/live`, 'GET')).body;
  expect({ redis, saving }).toEqual({ redis: before['redis'], saving: before['saving'] });
  expect(await ask(`${origin}/live`, 'GET', { host: 'example.com' })).toMatchObject({
    status: 403,
    body: { worker: 1 },
  });

  expect((await ask(`${origin}/redis/stop`, 'POST', { origin })).status).toBe(200);
  expect((await ask(`${origin}/live`, 'GET')).body).toMatchObject({ redis: { state: 'stopped' } });
}, 60_000);

test.each([
  ['in memory', async () => demo('')],
  [
    'on a given Redis',
    async () => {
      const redis = await startRedis();
      cleanups.push(() => redis.close());
      return demo('--workers 2', { REDIS_URL: redis.url });
    },
  ],
])(
  'the server refuses to break Redis %s, even if its own page asks',
  async (_, start) => {
    const origin = await start();
    for (const deed of DEEDS.filter((name) => name.startsWith('redis/'))) {
      const answer = await ask(`${origin}/${deed}`, 'POST', { origin });
      expect(answer, deed).toMatchObject({
        status: 403,
        error: expect.stringMatching(/There is no Redis|did not start this Redis/),
      });
    }
    expect((await ask(`${origin}/hello`, 'GET')).body).toMatchObject({
      allowed: true,
      degraded: false,
    });
  },
  60_000,
);
