import { describe, expect, test } from 'vitest';
import { readLimitText } from '../../../src/cli/limits/limit-text.ts';
import { requestsOf } from '../../../src/cli/simulate/requests.ts';
import type { SimulatedRequest } from '../../../src/cli/simulate/requests.ts';
import { Simulation } from '../../../src/cli/simulate/simulation.ts';
import { readTraffic } from '../../../src/cli/simulate/traffic.ts';
import { RateLimiter } from '../../../src/limiter/rate-limiter.ts';
import { MemoryStore } from '../../../src/stores/memory.ts';
import { ManualClock } from '../../../src/testing/manual-clock.ts';
import { mostOver } from '../../kit/slices/world.ts';
import type { Passed } from '../../kit/slices/world.ts';
import { run, write } from './run.ts';

const TRAFFIC = ['--traffic', '50 callers steady 30/1m'];

/** A store of several limiters, each of which spends slices of its own. */
class SharedStore extends MemoryStore {
  override readonly isShared: boolean = true;
}

interface Report {
  readonly requests: number;
  readonly policies: readonly {
    readonly name: string;
    readonly refused: number;
    readonly longestWaitMs: number;
    readonly storeCalls: number;
    readonly traffic: readonly { readonly requests: number; readonly refusedCallers: number }[];
    readonly timeline: { readonly rows: readonly { requests: number; refused: number }[] };
  }[];
}

async function report(argv: readonly string[]): Promise<Report> {
  const { stdout, stderr } = await run(['simulate', ...argv, '--json']);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Report;
}

function requests(
  texts: readonly string[],
  { lengthMs = 60_000, processes = 1, seed = 1 } = {},
): SimulatedRequest[] {
  const traffics = texts.map(readTraffic);
  return [...requestsOf({ traffics, lengthMs, processes, seed })];
}

const MIXED = [
  '20 callers steady 30/1m',
  '20 callers poisson 90/1m',
  '3 callers bursts of 30 every 20s',
  '3 callers on 5s off 10s 10/1s',
];

describe('simulate', () => {
  test('repeats a seed, and changes with it', async () => {
    const argv = ['--traffic', '20 callers poisson 60/1m', '--limit', '60/1m burst 5'];
    const first = await report(argv);
    expect(await report([...argv, '--seed', '1'])).toEqual(first);
    expect((await report([...argv, '--seed', '2'])).requests).not.toBe(first.requests);
  });

  test('gives limits of a module that count by parts callers that are alone in each part', async () => {
    write(
      'parts.mjs',
      `import { fixedWindow, tokenBucket } from ${JSON.stringify(new URL('../../../src/index.ts', import.meta.url).href)};
       export default [
         tokenBucket({ by: ['org', 'user'], unit: 'tokens', rate: 60, period: '1m' }),
         fixedWindow({ name: 'org', by: 'org', unit: 'tokens', rate: 60, period: '1m' }),
       ];`,
    );
    const traffic = ['--traffic', '2 callers bursts of 10 every 1m', '--for', '1m'];
    const { policies } = await report([...traffic, '--limits', 'parts.mjs', '--cost', 'tokens=7']);
    // 8 × 7 ≤ 60 < 9 × 7, for each caller alone.
    expect(policies[0]).toMatchObject({ refused: 4, traffic: [{ refusedCallers: 2 }] });
  });

  test('charges --cost, and refuses a cost without its unit', async () => {
    const traffic = ['--traffic', 'bursts of 10 every 1m', '--for', '1m', '--limit', '60/1m'];
    expect((await report([...traffic, '--cost', '20'])).policies[0]?.refused).toBe(7);
    const wrong = await run(['simulate', ...traffic, '--cost', 'tokens=20']);
    expect(wrong).toMatchObject({ exitCode: 2, stdout: '' });
  });

  test.each([
    [['--limit', '60/1m'], 'say who calls'],
    [['--traffic', '5 users steady 1/1s', '--limit', '1/1s'], '--traffic must be such as'],
    [['--traffic', 'steady 0/1s', '--limit', '1/1s'], "'0' must be at least 1"],
    [['--traffic', 'steady 1/5parsec', '--limit', '1/1s'], "'5parsec' is no duration"],
    [['--traffic', '2_000_000 callers steady 1/1s', '--limit', '1/1s'], 'at most 1,000,000'],
    [['--traffic', 'steady 1/1s'], 'name the limits'],
    [['--traffic', 'steady 1/1s', '--limit', '1/1s', '--for', 'ever'], '--for must be'],
    [['--traffic', 'steady 1/1s', '--limit', '1/1s', '--processes', '0'], '--processes must be'],
    [['--traffic', 'steady 1/1s', '--limit', '1/1s', '--deny-cache', '2m'], '--deny-cache must be'],
    [['steady', '--traffic', 'steady 1/1s', '--limit', '1/1s'], 'takes no words'],
  ])('%j is a wrong command line', async (argv, says) => {
    const { exitCode, stdout, stderr } = await run(['simulate', ...argv]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(says);
  });

  test('refuses concurrency limits, whose places a request would hold for no time', async () => {
    write(
      'places.mjs',
      `import { concurrency } from ${JSON.stringify(new URL('../../../src/index.ts', import.meta.url).href)};
       export default concurrency({ max: 2, ttl: '10s' });`,
    );
    const { exitCode, stderr } = await run(['simulate', ...TRAFFIC, '--limits', 'places.mjs']);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 2 });
    expect(stderr).toContain('concurrency');
  });

  test('without a request has failed', async () => {
    const argv = ['--traffic', 'steady 1/1d', '--limit', '1/1s', '--for', '1s'];
    const { exitCode, stderr } = await run(['simulate', ...argv]);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 3 });
    expect(stderr).toContain('--for 1h');
  });

  test('ends at Ctrl-C with 130', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    const argv = ['simulate', '--traffic', '9 callers steady 9/1s', '--limit', '1/1m'];
    const { exitCode, stderr } = await run([...argv, '--for', '300d'], { signal: stop.signal });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 130,
      stderr: 'distributed-rate-limiter: Interrupted.\n',
    });
  });
});

describe('decisions of a simulation', () => {
  test.each(['60/1m burst 10', '60/1m sliding', '60/1m log', '60/1m fixed', '2/1s, 60/1m fixed'])(
    'under %s are those of one RateLimiter, with any number of processes and with the deny cache',
    async (limit) => {
      const made = requests(MIXED, { lengthMs: 120_000, processes: 4 });
      const policy = { name: limit, options: { limits: readLimitText(limit) } };
      const variants = [
        { name: undefined, options: {} },
        { name: 'held', options: { denyCache: { holdMs: 5_000 } } },
      ];
      const simulation = new Simulation([policy], variants, MIXED.map(readTraffic), 4);
      const clock = new ManualClock();
      const startMs = clock.now();
      const limiter = new RateLimiter({
        limits: readLimitText(limit),
        store: new MemoryStore({ clock }),
      });
      let refused = 0;
      for (const request of made) {
        clock.set(startMs + request.atMs);
        const { allowed, ...own } = await limiter.allow(request.caller);
        refused += allowed ? 0 : 1;
        const [plain, held] = await simulation.take(request, [undefined, undefined]);
        expect(plain).toMatchObject({ allowed, reason: own.reason, limits: own.limits });
        expect(held?.allowed).toBe(allowed);
      }
      const [plain, held] = simulation.contenders;
      expect(refused).toBeGreaterThan(100);
      expect([plain?.refused, held?.refused]).toEqual([refused, refused]);
      expect(plain?.storeCalls).toBe(made.length);
      expect(held?.storeCalls).toBeLessThan(made.length);
      expect(held?.storeCalls).toBeGreaterThanOrEqual(made.length - refused);
    },
  );

  test.each([
    ['1000/1s', 1],
    ['1000/1s', 4],
    ['200/1s burst 50', 3],
    ['3000/10s sliding', 2],
    ['150/1s, 3000/1m fixed', 3],
  ])(
    'under %s with prepay in %i processes are those of limiters on one store',
    async (limit, processes) => {
      const busy = ['1 caller poisson 1500/1s', '2 callers bursts of 40 every 700ms'];
      const made = requests(busy, { lengthMs: 4_000, processes });
      const policy = { name: limit, options: { limits: readLimitText(limit) } };
      const variants = [
        { name: undefined, options: {} },
        { name: 'prepay', options: { prepay: true } },
      ];
      const simulation = new Simulation([policy], variants, busy.map(readTraffic), processes);
      const clock = new ManualClock();
      const startMs = clock.now();
      const store = new SharedStore({ clock });
      const limiters = Array.from(
        { length: processes },
        () => new RateLimiter({ limits: readLimitText(limit), store, prepay: true }),
      );
      let slices = 0;
      for (const request of made) {
        clock.set(startMs + request.atMs);
        const { allowed, reason, source, limits } = await limiters[request.process]!.allow(
          request.caller,
        );
        slices += source === 'slice' ? 1 : 0;
        const [, prepaid] = await simulation.take(request, [undefined, undefined]);
        expect(prepaid).toMatchObject({ allowed, reason, source, limits });
      }
      const [plain, prepaid] = simulation.contenders;
      expect(slices).toBe(made.length - prepaid!.storeCalls);
      expect(prepaid!.storeCalls).toBeLessThan(plain!.storeCalls / 2);
    },
  );

  test('with prepay let no more pass than the limit, and nearly as much as without', async () => {
    const busy = ['1 caller poisson 3000/1s'];
    const [rate, burst] = [1_000, 300];
    const limit = `${rate}/1s burst ${burst}`;
    const made = requests(busy, { lengthMs: 8_000, processes: 4 });
    const policy = { name: limit, options: { limits: readLimitText(limit) } };
    const variants = [
      { name: undefined, options: {} },
      { name: 'prepay', options: { prepay: true } },
    ];
    const simulation = new Simulation([policy], variants, busy.map(readTraffic), 4);
    const passed: Pick<Passed, 'at' | 'units'>[] = [];
    for (const request of made) {
      const [, prepaid] = await simulation.take(request, [undefined, undefined]);
      if (prepaid!.allowed) {
        const at = request.atMs * 1_000;
        passed.push({ at, units: 1 });
      }
    }
    expect(mostOver(passed, { p: 1_000n, n: 1n, burst: BigInt(burst) })).toBe(0);
    const [plain] = simulation.contenders;
    expect(passed.length).toBeGreaterThan(0.95 * (made.length - plain!.refused));
    expect(passed.length).toBeLessThanOrEqual(burst + rate * 8);
  });

  test('each process learns refusals for itself', async () => {
    const argv = ['--traffic', 'steady 100/1s', '--limit', '1/1h', '--for', '10s'];
    const callsOf = async (processes: number): Promise<number> => {
      const options = ['--processes', String(processes), '--deny-cache', '60s'];
      const { policies } = await report([...argv, ...options]);
      return policies[1]!.storeCalls;
    };
    // Any reply teaches: the burst of 1 that passed refuses all later calls.
    expect(await callsOf(1)).toBe(1);
    expect(await callsOf(8)).toBe(8);
  });
});

describe('traffic', () => {
  test('comes in the order of time, of each caller at its rate', () => {
    const made = requests(MIXED, { lengthMs: 600_000 });
    expect(made.map(({ atMs }) => atMs)).toEqual(
      made.map(({ atMs }) => atMs).toSorted((a, b) => a - b),
    );
    const perMinute = MIXED.map(
      (text, i) => made.filter(({ group }) => group === i).length / readTraffic(text).callers / 10,
    );
    expect(perMinute[0]).toBe(30);
    expect(Math.abs(perMinute[1]! - 90)).toBeLessThan(5);
    expect(perMinute[2]).toBe(90);
    expect(perMinute[3]).toBeGreaterThan(190);
    expect(perMinute[3]).toBeLessThan(210);
  });

  test('of Poisson has gaps whose deviation is their mean', () => {
    const times = requests(['poisson 60/1m'], { lengthMs: 3_600_000 }).map(({ atMs }) => atMs);
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const deviation = Math.sqrt(
      gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length,
    );
    expect(Math.abs(mean - 1_000)).toBeLessThan(50);
    expect(Math.abs(deviation - mean)).toBeLessThan(100);
  });

  test('of one caller does not change with callers beside it', () => {
    const alone = requests(['poisson 60/1m']).map(({ atMs }) => atMs);
    const beside = requests(['poisson 60/1m', '5 callers steady 60/1m']);
    expect(beside.filter(({ group }) => group === 0).map(({ atMs }) => atMs)).toEqual(alone);
  });

  test('goes to all processes about alike', () => {
    const made = requests(['10 callers steady 600/1m'], { processes: 4 });
    for (let process = 0; process < 4; process++) {
      const share = made.filter((each) => each.process === process).length / made.length;
      expect(share).toBeGreaterThan(0.22);
      expect(share).toBeLessThan(0.28);
    }
  });
});
