import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BATCH_SIZE, DURATION, METRICS } from '../../src/telemetry/metrics.ts';
import { freePort, startRedis } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';
import { install } from '../kit/fakes/installed.ts';
import type { Installed } from '../kit/fakes/installed.ts';
import { readExposition } from '../redis-server/telemetry/exposition.ts';

const page = readFileSync(new URL('../../docs/observability.md', import.meta.url), 'utf8');

/** The rows of a table, by its first heading, as cells. */
function table(heading: string): string[][] {
  const [, rows = ''] = page.split(`| ${heading} |`);
  return rows
    .split('\n\n')[0]!
    .split('\n')
    .slice(2)
    .map((row) =>
      row
        .split(/ ?\| ?/)
        .slice(1, -1)
        .map((cell) => cell.replaceAll('`', '')),
    );
}

describe('the table of metrics', () => {
  test('names each metric with its help text, and no other', () => {
    const shown = table('Prometheus').map(([prometheus, openTelemetry, type, , help]) => ({
      prometheus,
      openTelemetry,
      type,
      help,
    }));
    const exported = [
      ...METRICS.map(({ kind, ...metric }) => ({ ...metric, type: kind })),
      ...[DURATION, BATCH_SIZE].map((metric) => ({ ...metric, type: 'histogram' })),
    ].map(({ prometheus, openTelemetry, type, help }) => ({
      prometheus,
      openTelemetry,
      type,
      help,
    }));
    expect(shown).toEqual(exported);
  });

  test('every alert reads only metrics of the table', () => {
    const known = new Set(table('Prometheus').map(([name]) => name));
    const used = [...page.matchAll(/\bdrl_\w+/g)].map(([name]) => name.replace(/_bucket$/, ''));
    expect(used.filter((name) => !known.has(name))).toEqual([]);
  });

  test('a process without limiters exports every metric name', async () => {
    const register = new Registry();
    const stop = prometheusMetrics({ register });
    const text = await register.metrics();
    stop();
    expect([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name)).toEqual(
      table('Prometheus').map(([name]) => name),
    );
  });
});

describe('the code on the observability page', () => {
  const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code!);
  let redis: RedisServer;
  let project: Installed;
  beforeAll(async () => {
    redis = await startRedis();
    project = install(['ioredis', 'prom-client', '@opentelemetry']);
  });
  afterAll(async () => {
    project.remove();
    await redis.close();
  });

  /** Runs each block with this code added, and returns its output. */
  const traffic = `
const { RateLimiter: Limiter } = await import('distributed-rate-limiter');
const more = new Limiter({ redis: 'redis://localhost:6379', namespace: 'more', rate: 5, period: '1h' });
await more.ready();
await more.allow('a');
`;
  const added: readonly (readonly [what: string, code: string, prints: RegExp])[] = [
    [
      'Prometheus',
      `await new Promise((resolve) => setTimeout(resolve, 50));
       console.log(await (await fetch('http://localhost:9100/metrics')).text());`,
      /drl_decisions_total\{limiter="api",outcome="allowed",reason="within_limit"\} 1\n/,
    ],
    ['OpenTelemetry', traffic, /^$/],
    ['logs', traffic, /^$/],
    ['stats', '', /^1 0 0\n1 0\n$/],
    ['channels', traffic, /(^127\.0\.0\.1:\d+ \d answered \d+(\.\d+)?\n)+$/m],
  ];

  test('every code block of the page has a test', () => {
    expect(blocks).toHaveLength(added.length);
  });

  test.each(added.map((row, i) => [...row, i] as const))(
    'the code block works: %s',
    async (_, code, prints, i) => {
      const program = `${blocks[i]}\n${code}\nprocess.exit(0);\n`
        .replaceAll('redis://localhost:6379', redis.url)
        .replaceAll('9100', String(await freePort()));
      const file = join(redis.dir, `block-${i}.mjs`);
      writeFileSync(file, program);
      expect(await project.run(file, [])).toMatch(prints);
    },
  );
});

test('readExposition sorts the labels of a sample and reads its value', () => {
  expect([...readExposition('# HELP a b\na{y="2",x="1"} 3\nb 4\n')]).toEqual([
    ['a{x="1",y="2"}', 3],
    ['b', 4],
  ]);
});
