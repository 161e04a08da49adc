import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import express from 'express';
import Fastify from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { identifyByAddress } from '../../../src/http/address/client-address.ts';
import type { AddressRequest } from '../../../src/http/address/client-address.ts';

/** Reads the client's address from the framework's own request, and answers with it. */
const identify = identifyByAddress({ trustedProxies: ['loopback', 'unix'] });

/** These have no types, or types that the project's settings reject. */
async function load<T>(name: string): Promise<T> {
  return (await import(name)) as T;
}

interface KoaContext extends AddressRequest {
  body: unknown;
  readonly req: http.IncomingMessage;
  readonly request: AddressRequest;
}

interface KoaLike {
  default: new () => {
    use(middleware: (ctx: KoaContext) => void): unknown;
    callback(): http.RequestListener;
  };
}

interface HonoContext {
  readonly env: { readonly incoming: http.IncomingMessage };
  text(body: string): Response;
}

interface HonoLike {
  Hono: new () => {
    get(route: string, handler: (c: HonoContext) => Response): unknown;
    fetch: unknown;
  };
}

interface HonoNodeLike {
  getRequestListener(fetch: unknown): http.RequestListener;
}

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Each server listens on its own port, for IPv4 and IPv6, and returns the port. */
const servers: Readonly<Record<string, () => Promise<number>>> = {
  'node:http': () => listening(http.createServer((req, res) => res.end(String(identify(req))))),
  'Express 5': () =>
    listening(http.createServer(express().use((req, res) => void res.end(String(identify(req)))))),
  async 'Express 4'() {
    const { default: express4 } = await load<{ default: typeof express }>('express4');
    return listening(
      http.createServer(express4().use((req, res) => void res.end(String(identify(req))))),
    );
  },
  async Fastify() {
    const app = Fastify();
    app.get('/', (req) => [identify(req), identify(req.raw)].join(' and '));
    closing.push(() => app.close());
    return Number(new URL(await app.listen({ host: '::', port: 0 })).port);
  },
  async Koa() {
    const { default: Koa } = await load<KoaLike>('koa');
    const app = new Koa();
    app.use((ctx) => {
      ctx.body = [identify(ctx), identify(ctx.req), identify(ctx.request)].join(' and ');
    });
    return listening(http.createServer(app.callback()));
  },
  async Hono() {
    const { Hono } = await load<HonoLike>('hono');
    const { getRequestListener } = await load<HonoNodeLike>('@hono/node-server');
    const app = new Hono();
    app.get('/', (c) => c.text(String(identify(c.env.incoming))));
    return listening(http.createServer(getRequestListener(app.fetch)));
  },
};

async function listening(server: http.Server): Promise<number> {
  server.listen(0, '::');
  await once(server, 'listening');
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function ask(
  to: http.RequestOptions,
  headers: http.OutgoingHttpHeaders = {},
): Promise<string> {
  const req = http.get({ ...to, headers, agent: false });
  const [res] = (await once(req, 'response')) as [http.IncomingMessage];
  return (await res.setEncoding('utf8').toArray()).join('');
}

describe.each(Object.entries(servers))('%s', (_, start) => {
  test('finds the peer by IPv4 and IPv6, and the client that its proxy reports', async () => {
    const port = await start();
    const answers = [
      await ask({ host: '127.0.0.1', port }),
      await ask({ host: '::1', port }),
      await ask(
        { host: '127.0.0.1', port },
        { 'X-Forwarded-For': ['1.1.1.1, 2.2.2.2', '2001:DB8::1'] },
      ),
      await ask({ host: '::1', port }, { 'X-Forwarded-For': '1.1.1.1, 203.0.113.7' }),
      await ask({ host: '::1', port }, { 'X-Forwarded-For': '1.1.1.1, unknown' }),
    ];
    // If a framework has several views of a request, they agree.
    expect(answers.flatMap((answer) => [...new Set(answer.split(' and '))])).toEqual([
      '127.0.0.1',
      '::/64',
      '2001:db8::/64',
      '203.0.113.7',
      '::/64',
    ]);
  });
});

test('finds the peer over HTTP/2', async () => {
  const server = http2.createServer((req, res) => res.end(String(identify(req))));
  server.listen(0, '::');
  await once(server, 'listening');
  closing.push(() => server.close());
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  closing.unshift(() => session.close());
  const answers: string[] = [];
  for (const forwarded of [{}, { 'x-forwarded-for': '1.1.1.1, 203.0.113.7' }]) {
    const stream = session.request({ ':path': '/', ...forwarded });
    answers.push((await stream.setEncoding('utf8').toArray()).join(''));
  }
  expect(answers).toEqual(['127.0.0.1', '203.0.113.7']);
});

test('trusts a Unix domain socket by name', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'drl-unix-'));
  closing.push(() => rmSync(directory, { recursive: true }));
  const socketPath = path.join(directory, 's');
  const untrusting = identifyByAddress({ trustedProxies: ['loopback'] });
  const server = http.createServer((req, res) => res.end(`${identify(req)} ${untrusting(req)}`));
  server.listen(socketPath);
  await once(server, 'listening');
  closing.unshift(() => server.close());
  expect(await ask({ socketPath })).toBe('undefined undefined');
  expect(await ask({ socketPath }, { 'X-Forwarded-For': '1.1.1.1, 203.0.113.7' })).toBe(
    '203.0.113.7 undefined',
  );
});

test('does not take a closed TCP connection for a Unix domain socket', async () => {
  // A peer is trusted without an address only on a Unix domain socket.
  const onlyUnix = identifyByAddress({ trustedProxies: ['unix'] });
  const server = http.createServer();
  const port = await listening(server);
  const headers = { 'X-Forwarded-For': '203.0.113.7' };
  http.get({ host: '127.0.0.1', port, headers, agent: false }).once('error', () => {});
  const [req] = (await once(server, 'request')) as [http.IncomingMessage];
  // The address has not been read yet, and a closed socket no longer tells it.
  req.socket.destroy();
  await once(req.socket, 'close');
  expect(req.socket.remoteAddress).toBeUndefined();
  expect(onlyUnix(req)).toBeUndefined();
});
