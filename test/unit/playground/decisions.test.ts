import { describe, expect, test } from 'vitest';
import { readLimitText } from '../../../src/cli/limits/limit-text.ts';
import { MemoryStore, RateLimiter } from '../../../src/index.ts';
import { ManualClock } from '../../../src/testing/index.ts';
import { makeRequests } from '../../../site/playground/engine/requests.ts';
import type { Requests } from '../../../site/playground/engine/requests.ts';
import { run } from '../../../site/playground/engine/run.ts';
import { decisionsOf } from '../../../site/playground/engine/save.ts';
import { EXAMPLES } from '../../../site/playground/model/examples.ts';
import { readLength } from '../../../site/playground/model/traffic.ts';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

const never = (): boolean => false;

function limiterOf(policy: string) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  return { clock, limiter: new RateLimiter({ store, limits: readLimitText(policy) }) };
}

/** Made-up requests, by caller and in milliseconds. */
function rowsOf({ count, at, caller, names }: Requests) {
  return Array.from({ length: count }, (_, i) => ({
    atMs: at[i]! / 1_000,
    caller: names[caller[i]!]!,
  }));
}

async function expectAlike(requests: Requests, policies: readonly string[]) {
  const own = policies.map(limiterOf);
  const rows = rowsOf(requests);
  let [i, refused] = [0, 0];
  for await (const line of decisionsOf(requests, policies)) {
    const { atMs, caller } = rows[i]!;
    const expected: Record<string, unknown> = {};
    for (const [n, { clock, limiter }] of own.entries()) {
      clock.set(atMs);
      const decision = await limiter.allow(caller);
      refused += decision.allowed ? 0 : 1;
      expected[policies[n]!] = decision;
    }
    const wanted = JSON.stringify({ atMicros: atMs * 1_000, caller, decisions: expected });
    if (line !== `${wanted}\n`) {
      expect(line, `request ${i}`).toBe(`${wanted}\n`); // by itself, because it is slow
    }
    i += 1;
  }
  expect(i).toBe(requests.count);
  return refused;
}

function randomPolicy(random: Random): string {
  const limit = (): string => {
    const rate = random.int(0, 9);
    const burst = rate === 0 ? '' : ` burst ${random.int(1, 9)}`;
    const algorithm = random.pick(['', burst, ' fixed', ' sliding', ' log']);
    return `${rate}/${random.pick(['1s', '7s', '1m'])}${algorithm}`;
  };
  const texts = Array.from({ length: random.int(1, 3) }, limit);
  return [...new Set(texts)].join(', ');
}

function randomTraffic(random: Random): string {
  return random.pick([
    '3 callers steady 2/1s',
    '3 callers poisson 1/1s',
    '2 callers bursts of 9 every 5s',
    '1 caller on 3s off 4s 5/1s',
  ]);
}

describe('the playground decides what a RateLimiter on a MemoryStore decides', () => {
  test.each(EXAMPLES)('in the example: $name', async ({ policies, traffics, length, seed }) => {
    const lengthMs = readLength(length) as number;
    const requests = makeRequests({ traffics, lengthMs, seed });
    expect(requests.count).toBeGreaterThan(100);
    expect(await expectAlike(requests, policies)).toBeGreaterThan(0);
  });

  test('under random limits and traffic', async () => {
    let [all, refused] = [0, 0];
    await check({ cases: casesOf(50) }, async (random) => {
      const policies = [...new Set([randomPolicy(random), randomPolicy(random)])];
      const traffics = [randomTraffic(random), randomTraffic(random)];
      const requests = makeRequests({ traffics, lengthMs: 20_000, seed: random.int(0, 1e6) });
      refused += await expectAlike(requests, policies);
      all += requests.count * policies.length;
    });
    expect(refused).toBeGreaterThan(all / 10);
    expect(refused).toBeLessThan(all);
  });
});

describe('the playground shows', () => {
  test('totals that are the sums of its decisions', async () => {
    await check({ cases: casesOf(30) }, async (random) => {
      const policy = randomPolicy(random);
      const [lengthMs, seed] = [30_000, random.int(0, 1e6)];
      const requests = makeRequests({ traffics: [randomTraffic(random)], lengthMs, seed });
      const { policies, worst, scale } = (await run(requests, [policy], undefined, never))!;
      const [shown] = policies;
      const { clock, limiter } = limiterOf(policy);
      const passed = new Map<string, number[]>();
      const refused = new Map<string, number>();
      let longestWaitMs = 0;
      const at = Array.from({ length: scale.slots }, () => [0, 0] as [number, number]);
      for (const { atMs, caller } of rowsOf(requests)) {
        clock.set(atMs);
        const decision = await limiter.allow(caller);
        const slot = Math.floor((atMs * 1_000 - scale.fromMicros) / scale.stepMicros);
        at[slot]![decision.allowed ? 0 : 1] += 1;
        if (decision.allowed) {
          passed.set(caller, [...(passed.get(caller) ?? []), atMs]);
        } else {
          refused.set(caller, (refused.get(caller) ?? 0) + 1);
          longestWaitMs = Math.max(longestWaitMs, decision.retryAfterMs ?? Infinity);
        }
      }
      const periodMs = readLength(shown!.period) as number;
      const most = [...passed.values()].flatMap((times) =>
        times.map((end) => times.filter((each) => each > end - periodMs && each <= end).length),
      );
      expect([...shown!.admittedAt].map((each, i) => [each, shown!.refusedAt[i]])).toEqual(at);
      expect(shown).toMatchObject({
        admitted: [...passed.values()].flat().length,
        refused: [...refused.values()].reduce((sum, each) => sum + each, 0),
        disturbed: refused.size,
        longestWaitMs,
        mostInPeriod: Math.max(0, ...most),
      });
      for (const each of worst) {
        expect(each.refused).toEqual([refused.get(each.name) ?? 0]);
      }
    });
  });

  test('what `peek` says of the watched caller at each instant', async () => {
    await check({ cases: casesOf(30) }, async (random) => {
      const policy = randomPolicy(random);
      const requests = makeRequests({
        traffics: [randomTraffic(random)],
        lengthMs: 30_000,
        seed: random.int(0, 1e6),
      });
      const watched = random.pick(requests.names);
      const { policies, scale } = (await run(requests, [policy], watched, never))!;
      const { remaining, waitMs } = policies[0]!;
      const { clock, limiter } = limiterOf(policy);
      const rows = rowsOf(requests);
      for (let slot = 0, next = 0; slot < scale.slots; slot++) {
        const atMs = (scale.fromMicros + slot * scale.stepMicros) / 1_000;
        for (; next < rows.length && rows[next]!.atMs < atMs; next++) {
          clock.set(rows[next]!.atMs);
          await limiter.allow(rows[next]!.caller);
        }
        clock.set(atMs);
        const seen = await limiter.peek(watched);
        expect(remaining[slot], `slot ${slot}`).toBe(seen.remaining ?? 0);
        expect(waitMs[slot]).toBe(seen.allowed ? 0 : (seen.retryAfterMs ?? Infinity));
      }
    });
  });

  test('nothing of a run that a newer one has replaced', async () => {
    const requests = makeRequests({
      traffics: ['1 caller steady 10/1s'],
      lengthMs: 300_000,
      seed: 1,
    });
    const turns = { asked: 0 };
    const stale = (): boolean => ++turns.asked === 2;
    expect(await run(requests, ['5/1s'], undefined, stale)).toBeUndefined();
    expect(turns.asked).toBe(2);
  });
});
