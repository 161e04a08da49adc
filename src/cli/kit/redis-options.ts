import type { Given, OptionTable } from './command.ts';
import { UsageError } from './io.ts';
import type { Io } from './io.ts';

/** The options of every command that asks a Redis. */
export const REDIS_OPTIONS: OptionTable = {
  redis: {
    type: 'string',
    value: '<url>',
    help: 'redis://, rediss:// or unix:// (default: the environment variable REDIS_URL)',
  },
  cluster: { type: 'boolean', help: 'The URL is of a node of a Redis Cluster' },
  namespace: { type: 'string', value: '<name>', help: 'The `namespace` of your limiter' },
  timeout: {
    type: 'string',
    value: '<ms>',
    help: 'The longest that a call waits for Redis, in milliseconds (default 5000)',
  },
};

export function readRedisOption(given: Given, io: Io): string {
  const url = given.text('redis') ?? io.env['REDIS_URL'];
  if (url === undefined || url === '') {
    throw new UsageError('name the server: --redis redis://localhost:6379, or set REDIS_URL.');
  }
  return url;
}

export function readTimeout(given: Given): number {
  return given.integer('timeout', 5_000, 1, 60_000);
}
