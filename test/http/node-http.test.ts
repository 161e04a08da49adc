import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/node-http';
import type { Handler } from 'distributed-rate-limiter/node-http';
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
