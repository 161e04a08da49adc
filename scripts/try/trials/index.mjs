import { bullmq } from './bullmq.mjs';
import { bundles } from './bundles.mjs';
import { commonjs } from './commonjs.mjs';
import { express } from './express.mjs';
import { fakeTimers } from './fake-timers.mjs';
import { fastify } from './fastify.mjs';
import { hono } from './hono.mjs';
import { jest } from './jest.mjs';
import { llm } from './llm.mjs';
import { migrants } from './migrants.mjs';
import { nest } from './nest.mjs';
import { next, nextWebpack } from './next.mjs';
import { nodeRedis } from './node-redis.mjs';
import { quickstart } from './quickstart.mjs';
import { types } from './types.mjs';

/** In the order in which they run, quick ones first. @type {readonly import('../trial.mjs').Trial[]} */
export const trials = [
  quickstart,
  commonjs,
  express,
  fastify,
  hono,
  types,
  nodeRedis,
  llm,
  migrants,
  fakeTimers,
  jest,
  bullmq,
  nest,
  bundles,
  next,
  nextWebpack,
];
