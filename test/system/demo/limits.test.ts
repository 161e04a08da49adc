import process from 'node:process';
import { afterEach, expect, test } from 'vitest';
import { readDemoOptions } from '../../../demo/options.mjs';
import { freePort, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { startCommand } from '../../kit/servers/command.mjs';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function demo(flags: readonly string[], env: Record<string, string> = {}) {
  const command = [process.execPath, 'scripts/demo.mjs', '--limits', ...flags];
  const { output, exitCode, signal, close } = startCommand(command, env);
  cleanups.push(close);
  return { output, exitCode, end: () => signal('SIGINT') };
}

/** Each line of the round, without bars and waits. */
function rowsOf(output: string): string[] {
  return [...output.matchAll(/^ {2,}(?:\d+ {2})?((?:acquire|release|reserve|settle).*)$/gm)].map(
    ([, row = '']) =>
      row
        .replaceAll(/[■□]+/g, '')
        .replaceAll(/; in .*/g, '')
        .replaceAll(/ +/g, ' ')
        .trim(),
  );
}

/** Hardly a unit recovers meanwhile: one of the burst in 12 s, one of the 10,000 in 8.6 s. */
const round = [
  'acquire passes burst 4 month 59 places 2',
  'acquire passes burst 3 month 58 places 1',
  'acquire passes burst 2 month 57 places 0',
  'acquire refused burst 2 month 57 places 0 by places; charged nothing',
  'release one burst 2 month 57 places 1',
  'acquire passes burst 1 month 56 places 0',
  'release all burst 1 month 56 places 3',
  'acquire, cost 4 refused burst 1 month 56 places 3 by burst; charged nothing',
  'reserve 4,000 estimated 6,000 left',
  'settle 1,250 used in the end 8,750 left',
  'reserve 4,000 estimated 4,750 left',
  'settle 5,200 used in the end 3,550 left',
];

test('the limits demo in memory shows a call refused by one limit and charged under none, and both settlements', async () => {
  const run = demo(['--once']);
  expect(await run.exitCode).toBe(0);
  expect(rowsOf(run.output())).toEqual(round);
  expect(run.output()).toContain('limits live in its memory');
  expect(run.output()).not.toContain('\u001B[');
});

test('the limits demo prints the same rows on its own Redis', async () => {
  const run = demo(['--once', '--redis']);
  expect(await run.exitCode).toBe(0);
  expect(rowsOf(run.output())).toEqual(round);
  expect(run.output()).toContain('private redis-server');
});

test('the limits demo prints the same rows twice on a given Redis, and leaves there only what a day removes', async () => {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  for (let i = 0; i < 2; i++) {
    const run = demo(['--once'], { REDIS_URL: redis.url });
    expect(await run.exitCode).toBe(0);
    expect(rowsOf(run.output())).toEqual(round);
  }
  // The record of a settled reservation exists for as long as the reservation would have, so that its result can be
  // fetched. A bucket that was reset exists until its charges would have recovered.
  const keys: string[] = await redis.command('KEYS', '*');
  expect(keys.some(isRecord)).toBe(true);
  for (const key of keys) {
    const ttlMs = Number(await redis.command('PTTL', key));
    expect(ttlMs).toBeGreaterThan(0);
    expect(ttlMs).toBeLessThanOrEqual(isRecord(key) ? 120_000 : 24 * 3_600_000);
  }
});

function isRecord(key: string): boolean {
  return key.includes('#r:');
}

test('the limits demo goes on without --once until it is stopped', async () => {
  const run = demo([]);
  await waitUntil('the third call of those that follow', () =>
    /Going on[^]*\n +3 +acquire +passes/.test(run.output()),
  );
  run.end();
  expect(await run.exitCode).toBe(0);
});

test('the limits demo prints a cure and ends when its Redis is unreachable', async () => {
  const run = demo(['--once'], { REDIS_URL: `redis://127.0.0.1:${await freePort()}` });
  expect(await run.exitCode).toBe(1);
  expect(run.output()).toMatch(/^Redis \(127\.0\.0\.1:\d+\) cannot be used: /m);
  expect(run.output()).not.toMatch(/\n {4}at /);
});

test('the limits demo refuses options of a server', () => {
  expect(() => readDemoOptions(['--limits', '--redis', '--workers', '2'], {})).toThrow(/--limits/);
  expect(() => readDemoOptions(['--limits', '--port', '0'], {})).toThrow(/--limits/);
  const env = { npm_lifecycle_event: 'demo', npm_config_limits: 'true' };
  expect(() => readDemoOptions([], env)).toThrow('npm run demo -- --limits');
});
