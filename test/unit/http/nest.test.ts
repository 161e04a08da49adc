import * as common from '@nestjs/common';
import * as core from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import * as adapter from 'distributed-rate-limiter/nest';
import { frameworkContract } from './contract.ts';
import { nestFramework } from './nest-framework.ts';

const nest = { common, core, adapter };

frameworkContract(
  nestFramework('NestJS 12 on Express', { ...nest, platform: () => new ExpressAdapter() }),
);
frameworkContract(nestFramework('NestJS 12 on Fastify', { ...nest, platform: fastify }));

/** By default Fastify answers 415 to a body of unknown type, before any guard runs. */
function fastify(): FastifyAdapter {
  const platform = new FastifyAdapter();
  platform.getInstance().addContentTypeParser('*', (_request, _payload, done) => done(null));
  return platform;
}
