import { readFileSync } from 'node:fs';
import { concurrency, fixedWindow, MemoryStore, tokenBucket } from 'distributed-rate-limiter';
import type { Limit, RedisPort } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import type { HeaderProfile, Verdict } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { expect, test } from 'vitest';

const page = readFileSync(new URL('../../docs/http.md', import.meta.url), 'utf8');

const rates = [
  tokenBucket({ name: 'burst', rate: 10, period: '1s' }),
  fixedWindow({ name: 'quota', rate: 1_000, period: '1h' }),
];
const places = [
  concurrency({ name: 'streams', max: 5, ttl: '30s' }),
  tokenBucket({ name: 'rate', rate: 100, period: '1m' }),
];

/** Calls this often for one client, on a stopped clock, and returns the last verdict. */
async function verdictOf(
  requests: number,
  limits: readonly Limit[],
  headers: HeaderProfile = 'draft-11',
): Promise<Verdict> {
  const store = new MemoryStore({ clock: new ManualClock() });
  const guard = createGuard<object>({ store, limits }, { identify: () => 'user:1', headers });
  for (let i = 1; i < requests; i++) {
    await guard.check({});
  }
  const verdict = await guard.check({});
  await guard.limiter.close();
  return verdict;
}

/** The first block of this language below a line that begins with this text. */
function shownBelow(line: string, language: string): string {
  const [, below = ''] = page.split(`\n${line}`);
  const [, block = ''] = below.split(`\`\`\`${language}\n`);
  return block.split('```')[0]!;
}

function fieldsOf({ headers }: Verdict): string {
  return headers.map(([name, value]) => `${name}: ${value}\n`).join('');
}

function problemOf(verdict: Verdict): unknown {
  return verdict.pass ? undefined : JSON.parse(verdict.body);
}

test.each(['draft-11', 'draft-7', 'draft-6', 'legacy'] as const)(
  'the page shows the fields of %s as the library sends them',
  async (profile) => {
    expect(shownBelow(`\`'${profile}'\``, 'http')).toBe(
      fieldsOf(await verdictOf(4, rates, profile)),
    );
  },
);

test('the page shows the fields of a concurrency limit as the library sends them', async () => {
  expect(shownBelow('## Concurrency', 'http')).toBe(fieldsOf(await verdictOf(1, places)));
});

test('the page shows the problems of 429, 503 and 400 as the library sends them', async () => {
  const away: RedisPort = {
    state: 'away',
    onStateChange: () => {},
    send: () => Promise.reject(new Error('away')),
    isReply: () => false,
  };
  const undecided = createGuard<object>(
    { redis: away, limits: rates, failStrategy: 'closed' },
    { identify: () => 'user:1' },
  );
  const unidentified = createGuard<object>(
    { redis: away, limits: rates },
    { identify: () => undefined },
  );
  const shown = ['**429**, over', '**503**', '**400**'].map((line): unknown =>
    JSON.parse(shownBelow(line, 'json')),
  );
  expect(shown).toEqual([
    problemOf(await verdictOf(11, rates)),
    problemOf(await undecided.check({})),
    problemOf(await unidentified.check({})),
  ]);
  await Promise.all([undecided.limiter.close(), unidentified.limiter.close()]);
});
