import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePort, startRedis, tlsMissing } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { install } from '../../kit/fakes/installed.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const script = fileURLToPath(new URL('script.mjs', import.meta.url));

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
beforeEach(() => redis.command('FLUSHALL'));
afterAll(() => redis.close());

const silent = { NODE_NO_WARNINGS: '1' };

describe('a script that never closes its limiter exits by itself, and writes nothing to stderr', () => {
  test.each([['ioredis'], ['redis']])('with %s as client', async (library) => {
    const { run, remove } = install([library]);
    try {
      expect(await run(script, [redis.url])).toBe('within_limit\nlimited\n');
    } finally {
      remove();
    }
  });

  test.skipIf(tlsMissing())('over TLS, when the process trusts the authority', async () => {
    const secured = await startRedis({ tls: true });
    const { run, remove } = install(['ioredis']);
    try {
      expect(await run(script, [secured.url], secured.trusting)).toBe('within_limit\nlimited\n');
      expect(await run(script, [secured.url], silent)).toBe('store_away\nstore_away\n');
    } finally {
      remove();
      await secured.close();
    }
  });

  test('while Redis is away', async () => {
    const { run, remove } = install(['ioredis']);
    try {
      const absent = `redis://127.0.0.1:${await freePort()}`;
      expect(await run(script, [absent], silent)).toBe('store_away\nstore_away\n');
    } finally {
      remove();
    }
  });

  test('but a warning of degraded decisions, once', async () => {
    const { run, remove } = install(['ioredis']);
    try {
      const absent = `redis://127.0.0.1:${await freePort()}`;
      const printed = await run(script, [absent]).catch((error: Error) => error.message);
      expect(printed).toMatch(/^ended with 0: /);
      expect(printed.match(/DRL_DEGRADED/g)).toHaveLength(1);
    } finally {
      remove();
    }
  });

  test('without a client library, printing ERR_CLIENT_MISSING', async () => {
    const { run, remove } = install([]);
    try {
      expect(await run(script, [redis.url])).toBe('ERR_CLIENT_MISSING\n');
    } finally {
      remove();
    }
  });

  test.each([
    ['import, on the command line', ['--input-type=module', '-e', readFileSync(script, 'utf8')]],
    [
      'require, on the command line',
      [
        '--input-type=commonjs',
        '-e',
        readFileSync(script, 'utf8').replace(
          /import (.*) from '(.*)';/g,
          "const $1 = require('$2');",
        ),
      ],
    ],
    [
      'inside a thread',
      [
        '-e',
        `new (require('node:worker_threads').Worker)(${JSON.stringify(script)}, { argv: process.argv.slice(1) })`,
      ],
    ],
  ])('as %s', (_, args) => {
    const env = { ...process.env, NODE_OPTIONS: '' };
    // The script reads the argument after its own name, which is absent on this command line.
    const url = args[0] === '-e' ? [redis.url] : ['no name', redis.url];
    const printed = execFileSync(process.execPath, [...args, ...url], {
      cwd: root,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    expect(printed).toBe('within_limit\nlimited\n');
  });
});
