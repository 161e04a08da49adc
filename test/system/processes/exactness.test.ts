import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { runWorkers, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { LIBRARIES, openClient } from './clients.mjs';
import type { Flow, Round, Task } from './exactness.worker.mjs';
import { isLong } from './length.mjs';

const worker = new URL('exactness.worker.mjs', import.meta.url);

const PROCESSES = 8;
const IN_FLIGHT = 64;
const CALLS_PER_ROUND = 128;
const REFILL_MS = isLong ? 30_000 : 3_000;

/** At most 700 units a year is more than half a day for one unit: none recovers during the test. */
const NEVER = '365d';

/** Bursts and costs of all kinds, under one limit and under two at the same time, half of them with either client. */
const rounds: Round[][] = Array.from({ length: 100 }, (_, i) => {
  const burst = 1 + ((i * 37) % 700);
  const cost = Math.min(1 + (i % 3), burst);
  const library = LIBRARIES[i % 2]!;
  const unnamed = { rate: burst, period: NEVER } as const;
  const second = { name: 'second', rate: 400, period: NEVER } as const;
  return [
    { identity: `one:${i}`, limits: [unnamed], cost, library },
    { identity: `two:${i}`, limits: [unnamed, second], cost, library },
  ];
});

/** The burst recovers in 2 s, so a machine that serves no call for a while loses no units. */
const refilled: Round[] = [
  { identity: 'one limit', limits: [{ rate: 500, period: '1s', burst: 1_000 }], cost: 1 },
  {
    identity: 'two limits',
    // The second limit binds at first, the first one from 1.5 s on.
    limits: [
      { rate: 250, period: '1s', burst: 1_500 },
      { name: 'second', rate: 750, period: '1s', burst: 750 },
    ],
    cost: 1,
  },
];

/** The most calls that may pass during `ms`: the minimum over the limits. */
function bound({ limits, cost }: Round, ms: number): number {
  const units = limits.map(({ rate, burst = rate }) => burst + Math.floor((rate * ms) / 1_000));
  return Math.floor(Math.min(...units) / cost);
}

describe(`${PROCESSES} processes with ${IN_FLIGHT} calls in flight each`, () => {
  let redis: RedisServer;
  let results: { admitted: number[][]; flows: Flow[] }[];

  beforeAll(async () => {
    redis = await startRedis();
    const task: Task = {
      port: redis.port,
      inFlight: IN_FLIGHT,
      callsPerRound: CALLS_PER_ROUND,
      rounds,
      refilled,
      refillMs: REFILL_MS,
    };
    results = await runWorkers(worker, PROCESSES, task, { timeoutMs: 150_000 + REFILL_MS });
  }, 200_000);
  afterAll(() => redis.close());

  test(`admit exactly the burst without a refill, in each of ${rounds.length} rounds`, () => {
    const admitted = rounds.map((round, i) =>
      round.map((_, j) => results.reduce((sum, each) => sum + (each.admitted[i]?.[j] ?? NaN), 0)),
    );
    expect(admitted).toEqual(rounds.map((round) => round.map((each) => bound(each, 0))));
    const offered = PROCESSES * CALLS_PER_ROUND;
    expect(Math.max(...admitted.flat()), 'more was asked for than could pass').toBeLessThan(
      offered,
    );
  });

  test('each admit part of the burst', () => {
    for (const { admitted } of results) {
      expect(admitted.flat().reduce((sum, count) => sum + count)).toBeGreaterThan(0);
    }
  });

  test('charge under each limit exactly what they admit', async () => {
    const { client, end } = await openClient('ioredis', redis.port);
    const limiter = new RateLimiter({
      redis: client,
      namespace: 'exact',
      rate: 1,
      period: '1s',
      failStrategy: 'throw',
      timeoutMs: 10_000,
    });
    const left = await Promise.all(
      rounds.flat().map(async ({ identity, limits }) => {
        const decision = await limiter.peek(identity, { limits: limits.map(tokenBucket) });
        return decision.limits.map(({ limit, remaining }) => limit - remaining!);
      }),
    );
    end();
    expect(left).toEqual(
      rounds.flat().map((round) => round.limits.map(() => bound(round, 0) * round.cost)),
    );
  });

  test.each(refilled.map((round, i) => ({ ...round, i })))(
    'with refill, under $identity, admit at most the bound and at least 99.9 % of it',
    ({ i, ...round }) => {
      const flows = results.map(({ flows: all }) => all[i]!);
      const admittedAt = flows.flatMap((flow) => flow.admitted);
      const admitted = admittedAt.length;
      const decided = flows.reduce((sum, flow) => sum + flow.decided, 0);
      const first = Math.min(...flows.map((flow) => flow.first));
      const last = Math.max(...flows.map((flow) => flow.last));
      const outer =
        Math.max(...flows.map(({ told }) => told)) - Math.min(...flows.map(({ asked }) => asked));
      // After the first process finishes, the others may ask for less than recovers. Units that recover while no call
      // is served can be taken until the next refusal.
      const through = Math.min(...flows.map((flow) => flow.last));
      const saturated = Math.max(
        ...flows.flatMap((flow) => flow.refused.filter((at) => at <= through)),
      );
      const used = admittedAt.filter((at) => at <= saturated).length;
      // Both times of a difference are known to the millisecond.
      const most = bound(round, last - first + 2);
      const due = bound(round, saturated - first - 2);
      console.log(
        `${round.identity}: ${decided} decisions in ${last - first} ms, admitted ${admitted} of at most ${most}; ` +
          `under full demand ${used} in ${saturated - first} ms, at least ${due} due (${((100 * used) / due).toFixed(3)} %)`,
      );
      expect(decided, 'the demand was more than could pass').toBeGreaterThan(1.5 * admitted);
      expect(saturated - first).toBeGreaterThan(0.9 * REFILL_MS);
      expect(admitted).toBeLessThanOrEqual(most);
      expect(admitted).toBeLessThanOrEqual(bound(round, outer));
      expect(used).toBeGreaterThanOrEqual(0.999 * due);
    },
  );
});
