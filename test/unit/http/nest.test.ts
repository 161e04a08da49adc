import * as common from '@nestjs/common';
import * as core from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import * as adapter from 'distributed-rate-limiter/nest';
import { frameworkContract } from './contract.ts';
import { variantsOf } from '../../kit/random.mjs';
import { nestFramework } from './nest-framework.ts';

const nest = { common, core, adapter };

for (const [name, platform] of variantsOf([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', fastify],
] as const)) {
  frameworkContract(nestFramework(`NestJS 12 on ${name}`, { ...nest, platform }));
}

/** By default Fastify answers 415 to a body of unknown type, before any guard runs. */
function fastify(): FastifyAdapter {
  const platform = new FastifyAdapter();
  platform.getInstance().addContentTypeParser('*', (_request, _payload, done) => done(null));
  return platform;
}
