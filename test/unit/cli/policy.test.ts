import { describe, expect, test } from 'vitest';
import type { PolicyText } from '../../../src/cli/limits/policies.ts';
import type { LogEntry } from '../../../src/cli/logs/entry.ts';
import { Policy } from '../../../src/cli/replay/policy.ts';
import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from '../../../src/index.ts';
import type { AnyLimit } from '../../../src/index.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

function randomLimit(random: Random, name: string | undefined): AnyLimit {
  const options = {
    ...(name === undefined ? {} : { name }),
    rate: random.int(1, 5),
    period: random.pick(['1s', '3s', '1m'] as const),
    ...(random.chance(20) ? { shadow: true } : {}),
  };
  return random.pick([
    () => tokenBucket({ ...options, burst: random.int(1, 8) }),
    () => slidingWindow(options),
    () => slidingWindowLog(options),
    () => fixedWindow(options),
    () => fixedWindow({ ...options, period: 'day', timeZone: 'Europe/Berlin' }),
  ])();
}

const CALLERS = ['a', 'b', '{a}', '{a}#block', 'a/x:sliding_window_log', ':a'];

/** Decides the entries by a policy of the command line, and by a limiter. */
async function expectAlike(
  options: object,
  entries: readonly LogEntry[],
  fields: readonly string[],
) {
  const policy = new Policy({ name: 'policy', options } as PolicyText, fields);
  let now = 0;
  const store = new MemoryStore({ clock: { nowMicros: () => now } });
  const limiter = new RateLimiter({ ...options, store } as never) as RateLimiter<string, string>;
  for (const [i, entry] of entries.entries()) {
    const verdict = policy.decide(entry, entry.caller) ?? (await policy.later());
    now = entry.at;
    const { parts } = entry;
    const { org, user, tokens } = parts ?? {};
    const decision =
      fields.length === 0
        ? await (limiter as never as RateLimiter).allow(entry.caller, { cost: entry.cost })
        : await limiter.allow({ org: org!, user: user! }, { cost: { tokens: Number(tokens) } });
    expect(verdict.refused, `entry ${i}`).toBe(!decision.allowed);
    const refusing = decision.limits.filter(({ refused }) => refused).map(({ name }) => name);
    expect(verdict.by, `entry ${i}`).toEqual(refusing);
  }
  return limiter.stats();
}

describe('replay decides what a RateLimiter decides', () => {
  test('under random limits, costs and callers', async () => {
    let [passed, refused] = [0, 0];
    await check({ cases: casesOf(300) }, async (random) => {
      const names = [undefined, 'x', 'y'].slice(0, random.int(1, 3));
      const limits = names.map((name) => randomLimit(random, name));
      let at = Date.UTC(2026, 9, 24, 22) * 1_000;
      const entries = Array.from({ length: random.int(1, 60) }, () => ({
        at: (at += random.magnitude(1, 20_000_000)),
        order: 0,
        caller: random.pick(CALLERS),
        cost: random.pick([1, 1, 1, 0, 2, 6]),
      }));
      const { decisions } = await expectAlike({ limits, blocks: random.chance(30) }, entries, []);
      passed += decisions.allowed.within_limit ?? 0;
      refused += (decisions.refused.limited ?? 0) + (decisions.refused.impossible ?? 0);
    });
    expect(Math.min(passed, refused)).toBeGreaterThan((1_000 * casesOf(300)) / 300);
  });

  test('under limits that count by parts and in units', async () => {
    const limits = [
      tokenBucket({ name: 'org', by: 'org', rate: 5, period: '1m' }),
      tokenBucket({ name: 'user', by: ['org', 'user'], rate: 3, period: '10s' }),
      fixedWindow({ name: 'tokens', by: 'org', rate: 50, period: '1h', unit: 'tokens' }),
    ];
    await check({ cases: casesOf(100) }, async (random) => {
      let at = Date.UTC(2026, 9, 10) * 1_000;
      const entries = Array.from({ length: random.int(1, 60) }, () => ({
        at: (at += random.magnitude(1, 20_000_000)),
        order: 0,
        caller: '192.0.2.1',
        cost: 1,
        parts: {
          org: random.pick(['acme', 'beta']),
          user: random.pick(['1', '2']),
          tokens: String(random.int(0, 60)),
        },
      }));
      await expectAlike({ limits }, entries, ['org', 'user', 'tokens']);
    });
  });

  test('beyond the thousand answers that a store gives in one turn of the event loop', async () => {
    const entries = Array.from({ length: 5_000 }, (_, i) => ({
      at: Date.UTC(2026, 9, 10) * 1_000 + i * 100_000,
      order: 0,
      caller: 'a',
      cost: 1,
    }));
    const options = { rate: 100, period: '1m', burst: 20 };
    const { decisions } = await expectAlike(options, entries, []);
    // 500 s: the burst, and 100 a minute.
    expect(decisions.allowed.within_limit).toBe(20 + Math.floor((499.9 * 100) / 60));
  });
});

test('limits that a log cannot answer are refused', () => {
  const make = (options: object, fields: readonly string[] = []): Policy =>
    new Policy({ name: 'mine', options } as PolicyText, fields);
  expect(() => make({ algorithm: 'concurrency', max: 3, ttl: '10s' })).toThrow(/concurrency limit/);
  expect(() => make({ rate: -1, period: '1m' })).toThrow(/the limits 'mine': `rate` must be/);
  const byOrg = { limits: [tokenBucket({ by: 'org', rate: 1, period: '1m', unit: 'tokens' })] };
  expect(() => make(byOrg)).toThrow(/count by org, tokens: .* Write --field org=…/);
  expect(() => make(byOrg, ['org'])).toThrow(/count by tokens: .* Write --field tokens=…/);
});
