import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { MemoryStore } from 'distributed-rate-limiter';
import { rateLimit } from 'distributed-rate-limiter/node-http';
import type { Handler } from 'distributed-rate-limiter/node-http';
import { expect, test, vi } from 'vitest';
import { frameworkContract } from './contract.ts';
import { listen, nodeRequest, send } from './node-server.ts';

frameworkContract<IncomingMessage>({
  ...nodeRequest,
  name: 'node:http',
  serve: ([route]) =>
    listen(
      createServer(
        route!.guards.reduceRight<Handler>(
          (inner, [limiter, options]) => rateLimit(limiter, options)(inner),
          async (request, response) => {
            try {
              await send(await route!.handler(request), response);
            } catch {
              response.writeHead(500).end();
            }
          },
        ),
      ),
    ),
});

test('answers 500 when a function of the guard throws, with one warning that names the cause', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const limit = rateLimit(
    { store: new MemoryStore(), rate: 1, period: '1m' },
    {
      cost: () => {
        throw new TypeError('no such plan');
      },
    },
  );
  const { origin, close } = await listen(createServer(limit((_, response) => response.end())));
  const responses = [await fetch(origin), await fetch(origin)];
  expect(responses.map(({ status }) => status)).toEqual([500, 500]);
  expect(await responses[0]!.json()).toEqual({
    type: 'about:blank',
    title: 'Internal Server Error',
    status: 500,
  });
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]![0]).toContain('TypeError: no such plan');
  warn.mockRestore();
  await close();
});
