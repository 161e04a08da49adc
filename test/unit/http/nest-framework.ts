import type { IncomingMessage, ServerResponse } from 'node:http';
import type * as Common from '@nestjs/common';
import type * as Core from '@nestjs/core';
import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type * as Adapter from 'distributed-rate-limiter/nest';
import type { NestRequest } from 'distributed-rate-limiter/nest';
import { responseOn } from './framework.ts';
import type { Answer, Framework } from './framework.ts';
import { decorate, parameter } from './nest-decorate.ts';
import { send } from './node-server.ts';

/** One version of Nest, with the adapter as that version loads it. */
export interface Nest {
  readonly common: Pick<typeof Common, 'All' | 'Controller' | 'Module' | 'Req' | 'Res'>;
  readonly core: Pick<typeof Core, 'NestFactory'>;
  readonly adapter: Pick<typeof Adapter, 'RateLimit' | 'RateLimitModule'>;
  platform(): Core.AbstractHttpAdapter;
}

type Reply = ServerResponse & { raw?: ServerResponse };

/** One limiter per decorator, several on one handler; each overrides the module's limiter. */
export function nestFramework(name: string, nest: Nest): Framework<NestRequest> {
  const { All, Controller, Module, Req, Res } = nest.common;
  const { RateLimit, RateLimitModule } = nest.adapter;
  return {
    name,
    header: (request, field) => request.headers[field] as string | undefined,
    method: (request) => request.method,
    responseOf: (request) =>
      responseOn((request as { raw?: IncomingMessage }).raw ?? (request as never)),
    async serve(routes) {
      const controllers = routes.map(({ path, guards, handler }) => {
        class Routes {
          handle(request: NestRequest, reply: Reply): Promise<void> {
            return handler(request).then((answer: Answer) => send(answer, reply.raw ?? reply));
          }
        }
        return decorate(Routes, [Controller(path)], {
          handle: [
            All(),
            ...guards.map(([limiter, options]) => RateLimit({ ...options, limiter })),
            parameter(0, Req()),
            parameter(1, Res()),
          ],
        });
      });
      class AppModule {}
      const limiter = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h' });
      Module({ imports: [RateLimitModule.forRoot({ limiter })], controllers })(AppModule);
      const app = await nest.core.NestFactory.create(AppModule, nest.platform(), {
        logger: false,
        abortOnError: false,
        forceCloseConnections: true,
      });
      await app.listen(0, '127.0.0.1');
      return { origin: await app.getUrl(), close: () => app.close() };
    },
  };
}
