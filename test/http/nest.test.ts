import type { ServerResponse } from 'node:http';
import { All, Controller, Req, Res } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { MemoryStore } from 'distributed-rate-limiter';
import { RateLimit, RateLimitModule } from 'distributed-rate-limiter/nest';
import type { NestRequest } from 'distributed-rate-limiter/nest';
import { frameworkContract } from './contract.ts';
import type { Answer } from './framework.ts';
import { create, decorate, listen, parameter } from './nest-app.ts';
import { send } from './node-server.ts';

type Reply = ServerResponse & { raw?: ServerResponse };

const platforms: readonly (readonly [name: string, adapter: () => AbstractHttpAdapter])[] = [
  ['Express', () => new ExpressAdapter()],
  ['Fastify', fastify],
];

/** By itself Fastify answers 415 to a body of unknown type, before any guard is asked. */
function fastify(): FastifyAdapter {
  const adapter = new FastifyAdapter();
  adapter.getInstance().addContentTypeParser('*', (_request, _payload, done) => done(null));
  return adapter;
}

const unused = { limiter: { store: new MemoryStore(), rate: 1, period: '1h' } } as const;

for (const [platform, adapter] of platforms) {
  frameworkContract<NestRequest>({
    name: `NestJS 12 on ${platform}`,
    header: (request, name) => request.headers[name] as string | undefined,
    method: (request) => request.method,
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
      return listen(
        await create({ imports: [RateLimitModule.forRoot(unused)], controllers }, adapter()),
      );
    },
  });
}
