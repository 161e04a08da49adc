import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { rateLimit } from 'distributed-rate-limiter/express';
import express5 from 'express';
import express4 from 'express4';
import { frameworkContract } from './contract.ts';
import { listen, nodeRequest, send } from './node-server.ts';

for (const [version, express] of [
  [5, express5],
  [4, express4],
] as const) {
  frameworkContract<IncomingMessage>({
    ...nodeRequest,
    name: `Express ${version}`,
    async serve(routes) {
      const app = express();
      for (const { path, guards, handler } of routes) {
        app.all(
          path,
          ...guards.map(([limiter, options]) => rateLimit(limiter, options)),
          (request, response, next) => {
            handler(request).then((answer) => send(answer, response), next);
          },
        );
      }
      // Express's own would write the error to the console.
      app.use((_error: unknown, _: unknown, response: ServerResponse, next: () => void) => {
        if (response.headersSent) next();
        else response.writeHead(500).end();
      });
      return listen(createServer(app));
    },
  });
}
