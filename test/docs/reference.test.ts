import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import {
  ACQUIRE,
  BAN,
  CALL,
  CONCURRENCY,
  FIXED_WINDOW,
  limiterOptions,
  MEMORY_STORE,
  RESERVE,
  SLIDING_WINDOW,
  SLIDING_WINDOW_LOG,
  TOKEN_BUCKET,
  WAIT,
} from '../../src/options/option-sets.ts';
import { GUARD } from '../../src/options/http-option-sets.ts';
import { FakeRedis } from '../kit/fakes/fake-redis.ts';

const page = readFileSync(
  fileURLToPath(new URL('../../docs/reference.md', import.meta.url)),
  'utf8',
);

/** The names in backticks in each row of a section's tables. */
function rowsOf(heading: string): readonly (readonly (readonly string[])[])[] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => Array.from(cell.matchAll(/`(\w+)`/g), ([, name]) => name!)),
    );
}

/** The names in the first column. */
function namesIn(heading: string): readonly string[] {
  return rowsOf(heading).flatMap(([first]) => first ?? []);
}

test.each([
  ['RateLimiter', limiterOptions(undefined).names],
  ['MemoryStore', MEMORY_STORE.names],
  ['The guard of HTTP adapters', GUARD.names],
])('the reference lists exactly the options of %s', (heading, names) => {
  expect(namesIn(heading).toSorted()).toEqual(names.toSorted());
});

test('the reference lists exactly the options of each limit', () => {
  const limits = [TOKEN_BUCKET, SLIDING_WINDOW, SLIDING_WINDOW_LOG, FIXED_WINDOW, CONCURRENCY];
  const rows = rowsOf('Limits').slice(0, limits.length);
  expect(rows).toEqual(limits.map(({ of, names }) => [[of], names]));
});

test('the reference lists exactly the options of a ban', () => {
  expect(namesIn('Bans')).toEqual(BAN.names);
});

test('the reference lists exactly the options of each call', () => {
  const rows = rowsOf('Calls');
  expect(rows.slice(0, 4)).toEqual([
    [['allow', 'peek'], CALL.names],
    [['acquire'], ACQUIRE.names],
    [['wait'], WAIT.names],
    [['reserve'], RESERVE.names],
  ]);
  const described = rows.slice(4).flatMap(([first]) => first ?? []);
  const all = new Set([CALL, ACQUIRE, WAIT, RESERVE].flatMap(({ names }) => names));
  expect(described.toSorted()).toEqual([...all].toSorted());
});

test('the reference lists exactly the fields of a decision and of its limits', async () => {
  const limiter = new RateLimiter({
    store: new MemoryStore(),
    rate: 1,
    period: '1h',
    blocks: true,
  });
  const away = new RateLimiter({ redis: new FakeRedis('away'), rate: 1, period: '1h' });
  const units = new RateLimiter({
    store: new MemoryStore(),
    limits: [tokenBucket({ rate: 1, period: '1h', unit: 'tokens' })],
  });
  await limiter.block('blocked', '1h');
  const banning = new RateLimiter({
    store: new MemoryStore(),
    blocks: true,
    limits: [tokenBucket({ rate: 1, period: '1h', ban: { after: 1, within: '1h', for: '1h' } })],
  });
  await banning.allow('user');
  const decisions = [
    await limiter.allow('user'),
    await limiter.allow('user'),
    await limiter.allow('user', { cost: 2 }),
    await limiter.allow('blocked'),
    await banning.allow('user'),
    await away.allow('user'),
    await units.allow('user', { cost: { tokens: 1 } }),
  ];
  expect(new Set(decisions.map(({ reason }) => reason)).size).toBe(5);
  const fields = new Set(decisions.flatMap((decision) => Object.keys(decision)));
  expect(namesIn('Decision').toSorted()).toEqual([...fields].toSorted());
  const reasons = new Set(decisions.map(({ reason }) => reason));
  expect(namesIn('Reasons')).toEqual(expect.arrayContaining([...reasons]));
  const byPart = new RateLimiter({
    store: new MemoryStore(),
    limits: [tokenBucket({ by: 'org', rate: 1, period: '1h' })],
  });
  const states = [...decisions, await byPart.allow({ org: 'acme' })].flatMap<object>(
    ({ limits }) => limits,
  );
  const stateFields = new Set(states.flatMap((state) => Object.keys(state)));
  expect(namesIn('State of a limit').toSorted()).toEqual([...stateFields].toSorted());
});
