/** Runs every example as a reader does: with plain Node and the built package. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startCommand } from '../kit/servers/command.mjs';
import { startRedis } from '../kit/servers/index.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const examples = readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.mjs'));

const RATE = 5;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

beforeAll(() => {
  if (!existsSync(path.join(root, 'dist/index.js'))) throw new Error('Run `npm run build` first.');
});

async function start(example: string, env?: Record<string, string>) {
  const run = startCommand([process.execPath, path.join('examples', example)], env);
  cleanups.push(run.close);
  const [, origin = ''] = await run.printed(/^(http:\S+)\n/m);
  const end = (): Promise<number | null> => {
    run.signal('SIGTERM');
    return run.exitCode;
  };
  return { origin, output: run.output, end };
}

/** Sends requests one after another until the first refusal, and returns their statuses. */
async function ask(origin: string): Promise<number[]> {
  const statuses: number[] = [];
  while (statuses.length <= 2 * RATE && statuses.at(-1) !== 429) {
    const response = await fetch(origin, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    statuses.push(response.status);
  }
  return statuses;
}

describe('examples', () => {
  test('every framework has its example', () => expect(examples.length).toBeGreaterThan(0));

  test('the README of the examples lists each of them', () => {
    const list = readFileSync(path.join(root, 'examples/README.md'), 'utf8');
    for (const example of examples) expect(list).toContain(`(${example})`);
  });

  describe.each(examples)('%s', (example) => {
    test(`lets ${RATE} requests through, prints one line, and ends when told to`, async () => {
      const { origin, output, end } = await start(example);
      expect(await ask(origin)).toEqual([...Array.from({ length: RATE }, () => 200), 429]);
      expect(await end()).toBe(0);
      expect(output()).toBe(`${origin}\n`);
    });

    test('shares its limit with a second process over Redis', async () => {
      const redis = await startRedis();
      cleanups.push(() => redis.close());
      const env = { REDIS_URL: redis.url };
      const [one, other] = await Promise.all([start(example, env), start(example, env)]);
      expect(await ask(one.origin)).toHaveLength(RATE + 1);
      expect(await ask(other.origin)).toEqual([429]);
      expect([await one.end(), await other.end()]).toEqual([0, 0]);
    });
  });
});
