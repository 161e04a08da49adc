import { describe, expect, test } from 'vitest';
import { ArrivalCurve, burstFor, disturbedBy } from '../../../src/cli/suggest/arrival-curve.ts';
import { collectGarbage } from '../../kit/collect-garbage.mjs';
import { casesOf, check } from '../../kit/random.mjs';
import { run } from './run.ts';

interface Suggested {
  readonly requests: number;
  readonly callers: number;
  readonly oneCallerIn: number;
  readonly rates: readonly {
    readonly rate: number;
    readonly bursts: readonly { share: number; burst?: number; disturbed?: number }[];
  }[];
  readonly suggestion: { rate: number; period: string; burst: number; disturbed: number } | null;
}

async function suggested(argv: readonly string[], stdin: string): Promise<Suggested> {
  const { stdout } = await run(['suggest', '-', '--json', ...argv], { stdin });
  return JSON.parse(stdout) as Suggested;
}

/** How many callers `replay` says that a limit refuses at least once. */
async function disturbed(limit: string, stdin: string, argv: readonly string[]): Promise<number> {
  const { stdout } = await run(['replay', '-', '--limit', limit, '--json', ...argv], { stdin });
  return (JSON.parse(stdout) as { policies: { refusedCallers: number }[] }).policies[0]!
    .refusedCallers;
}

describe('suggest', () => {
  test('replay disturbs exactly the callers that each burst is said to disturb, and a smaller one more', async () => {
    let tried = 0;
    await check({ cases: casesOf(60) }, async (random) => {
      const callers = random.int(1, 12);
      let at = Date.UTC(2026, 9, 10) * 1_000;
      const lines = Array.from({ length: random.int(1, 120) }, () => {
        at += random.magnitude(1, random.pick([3_000, 3_000_000, 90_000_000]));
        return JSON.stringify({
          time: at,
          ip: `c${random.int(1, callers)}`,
          cost: random.pick([1, 1, 2, 0, 5]),
        });
      });
      const log = lines.join('\n');
      const rates = [random.int(1, 9), random.int(10, 999), 7];
      const period = random.pick(['1s', '7s', '1m', '1h']);
      const fields = random.chance(50) ? ['--field', 'cost=cost'] : [];
      const share = random.int(0, 50);
      const argv = [
        '--period',
        period,
        '--rates',
        rates.join(','),
        '--disturb',
        `${share}%`,
        ...fields,
      ];
      const { rates: rows, callers: seen } = await suggested(argv, log);
      for (const { rate, bursts } of rows) {
        const { burst, disturbed: said } = random.pick(bursts);
        expect(burst).toBeDefined();
        const limit = (units: number): string => `${rate}/${period} burst ${units}`;
        expect(await disturbed(limit(burst!), log, fields), limit(burst!)).toBe(said);
        if (burst! > 1) {
          expect(await disturbed(limit(burst! - 1), log, fields)).toBeGreaterThan(said!);
        }
        tried += 1;
      }
      for (const { share: each, disturbed: said } of rows.flatMap(({ bursts }) => bursts)) {
        expect(said! / seen).toBeLessThanOrEqual(each);
      }
    });
    expect(tried).toBeGreaterThanOrEqual(casesOf(60) * 3);
  });

  test('suggests the lowest rate whose burst comes back within a period', async () => {
    // A request a second, and ten at once now and then.
    const times = Array.from({ length: 1_000 }, (_, i) => 1_791_590_400 + i);
    const lines = times.flatMap((time, i) => Array<number>(i % 100 === 0 ? 10 : 1).fill(time));
    const log = lines.map((time) => `{"time":${time},"ip":"192.0.2.1"}`).join('\n');
    const { suggestion, rates } = await suggested(['--rates', '600,100,70,60,10'], log);
    expect(suggestion).toMatchObject({ rate: 70, period: '1m' });
    const bursts = new Map(rates.map(({ rate, bursts: [first] }) => [rate, first!.burst!]));
    expect(suggestion!.burst).toBe(bursts.get(70));
    expect(bursts.get(60)).toBeGreaterThan(60);
  });

  test('looks at every second caller, or fewer, beyond --max-callers, each with its whole history', async () => {
    const lines = Array.from({ length: 3_000 }, (_, i) => {
      // Caller n sends n % 10 + 1 requests at once.
      const caller = i % 1_000;
      return Array<string>((caller % 10) + 1)
        .fill(`{"time":${1_791_590_400 + i},"ip":"c${caller}"}`)
        .join('\n');
    });
    const log = lines.join('\n');
    const all = await suggested(['--rates', '6000', '--period', '1m'], log);
    const some = await suggested(['--rates', '6000', '--max-callers', '300'], log);
    expect(all).toMatchObject({ callers: 1_000, oneCallerIn: 1, requests: 16_500 });
    expect(some).toMatchObject({ oneCallerIn: 4, requests: 16_500 });
    expect(some.callers).toBeGreaterThan(200);
    expect(some.callers).toBeLessThanOrEqual(300);
    expect(some.rates[0]?.bursts[0]?.burst).toBe(all.rates[0]?.bursts[0]?.burst);
    const { stderr } = await run(['suggest', '-', '--max-callers', '300'], { stdin: log });
    expect(stderr).toContain('1 in 4 is looked at');
  });

  test.each([
    [['--rates', '1,x'], '--rates must be'],
    [['--rates', '0'], '--rates must be'],
    [['--rates', Array.from({ length: 15 }, (_, i) => i + 1).join(',')], 'at most 14'],
    [['--period', '2y'], '--period must be'],
    [['--disturb', '0.1'], '--disturb must be'],
  ])('%j is a wrong command line', async (argv, says) => {
    const { exitCode, stderr } = await run(['suggest', '-', ...argv]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(says);
  });
});

describe('the arrival curve', () => {
  test('takes at most 300 bytes per caller', () => {
    const rates = [1, 2, 5, 10, 20, 30, 60, 100, 200, 300, 600, 1_000, 2_000, 6_000];
    const callers = 200_000;
    const used = (): number => {
      collectGarbage();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = used();
    const curve = new ArrivalCurve(rates, 60_000, callers);
    for (let i = 0; i < callers; i++) {
      curve.take([{ at: i, order: 0, caller: `198.51.${i % 256}.${i >> 8}`, cost: 1 }]);
    }
    const bytes = (used() - before) / callers;
    console.log(`${bytes.toFixed(0)} bytes per caller`);
    expect(curve.callers).toBe(callers);
    expect(bytes).toBeGreaterThan(rates.length * 12);
    expect(bytes).toBeLessThan(300);
  });

  test('counts callers beyond a burst', () => {
    const bursts = Uint32Array.of(1, 2, 2, 5);
    expect([0, 1, 2, 3, 4].map((count) => burstFor(bursts, count))).toEqual([5, 2, 2, 1, 1]);
    expect([1, 2, 4, 5].map((burst) => disturbedBy(bursts, burst))).toEqual([3, 1, 1, 0]);
  });
});
