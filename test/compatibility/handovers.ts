import { expect } from 'vitest';
import type { Decision, Limit, RateLimiter } from 'distributed-rate-limiter';
import type { RedisServer } from '../kit/servers/index.mjs';
import { ROWS } from './limits.mjs';
import type { Library, Row } from './limits.mjs';

/** One of the two versions on one Redis, with its own client. */
export interface Side {
  readonly library: Library;
  limiter(limits: Limit[], blocks?: boolean): RateLimiter;
}

/** State that one version writes and the other continues. */
export interface Handover {
  readonly name: string;
  readonly needs: readonly string[];
  run(from: Side, to: Side, redis: RedisServer): Promise<void>;
}

const WHO = 'everybody';
const UNITS = 20;

/** Both versions see the same units left, and the same reset instant on Redis's clock, within a rounded millisecond. */
async function agree(one: RateLimiter, other: RateLimiter, remaining: number): Promise<void> {
  const [a, b] = [await one.peek(WHO), await other.peek(WHO)];
  expect([a.remaining, b.remaining]).toEqual([remaining, remaining]);
  const apart = a.resetAfterMs === 0 ? b.resetAfterMs! : Math.abs(a.resetAtMs! - b.resetAtMs!);
  expect(apart).toBeLessThanOrEqual(1);
}

function instantOf(decision: Decision): number {
  return decision.resetAtMs! - decision.resetAfterMs! + decision.retryAfterMs!;
}

function limited({ name, needs, limits }: Row): Handover {
  return {
    name: `${name}: what is left, what is refused and until when; what is forgotten`,
    needs,
    async run(from, to) {
      const [a, b] = [from, to].map((side) => side.limiter(limits(side.library, UNITS))) as [
        RateLimiter,
        RateLimiter,
      ];
      await a.allow(WHO, { cost: 3 });
      await agree(a, b, UNITS - 3);
      await b.allow(WHO, { cost: 2 });
      await agree(a, b, UNITS - 5);
      await a.allow(WHO, { cost: UNITS - 5 });
      await agree(a, b, 0);
      const refusals = [await a.allow(WHO), await b.allow(WHO)];
      expect(refusals.map(({ reason }) => reason)).toEqual(['limited', 'limited']);
      expect(Math.abs(instantOf(refusals[0]!) - instantOf(refusals[1]!))).toBeLessThanOrEqual(2);
      await b.reset(WHO);
      await agree(a, b, UNITS);
    },
  };
}

function keysOf(redis: RedisServer, pattern: string): Promise<string[]> {
  return redis.command('KEYS', pattern);
}

/** The one new key. */
async function newKey(
  redis: RedisServer,
  pattern: string,
  known: readonly string[],
): Promise<string> {
  const keys = (await keysOf(redis, pattern)).filter((key) => !known.includes(key));
  expect(keys).toHaveLength(1);
  return keys[0]!;
}

export const HANDOVERS: readonly Handover[] = [
  ...ROWS.filter(({ verb }) => verb === 'allow').map(limited),
  {
    name: 'a debt',
    needs: ['penalize'],
    async run(from, to) {
      const [a, b] = [from, to].map(({ limiter, library }) =>
        limiter([library.tokenBucket({ rate: 7, period: '1h', maxDebt: 10 })]),
      ) as [RateLimiter, RateLimiter];
      await a.penalize(WHO, 12);
      await agree(a, b, 0);
      const refusals = [await a.allow(WHO), await b.allow(WHO)];
      // 12 units of 7 were taken, and another is asked for: the wait is for 6 to recover.
      for (const { retryAfterMs } of refusals) {
        expect(retryAfterMs).toBeGreaterThan((6 / 7) * 3_600_000 - 10_000);
        expect(retryAfterMs).toBeLessThanOrEqual(Math.ceil((6 / 7) * 3_600_000));
      }
    },
  },
  {
    name: 'a block and its end',
    needs: ['block', 'unblock'],
    async run(from, to) {
      const [a, b] = [from, to].map(({ limiter, library }) =>
        limiter([library.tokenBucket({ rate: UNITS, period: '1h' })], true),
      ) as [RateLimiter, RateLimiter];
      await a.allow(WHO);
      await a.block(WHO, '1h');
      const answers = [await a.allow(WHO), await b.allow(WHO)];
      expect(answers.map(({ reason }) => reason)).toEqual(['blocked', 'blocked']);
      expect(Math.abs(instantOf(answers[0]!) - instantOf(answers[1]!))).toBeLessThanOrEqual(2);
      await b.unblock(WHO);
      await agree(a, b, UNITS - 1);
    },
  },
  {
    name: 'a plan beside the own limit, whose line one starts and the other charges',
    needs: [],
    async run(from, to) {
      const plan = ({ library }: Side) => ({
        limits: [library.tokenBucket({ rate: 10, period: '1m' })],
      });
      const [a, b] = [from, to].map((side) =>
        side.limiter([side.library.tokenBucket({ rate: UNITS, period: '1h' })]),
      ) as [RateLimiter, RateLimiter];
      await a.allow(WHO, { cost: 4 });
      expect((await a.allow(WHO, { ...plan(from), cost: 5 })).remaining).toBe(1);
      expect((await b.allow(WHO, plan(to))).remaining).toBe(0);
      expect((await a.allow(WHO, plan(from))).allowed).toBe(false);
      await agree(a, b, UNITS - 10);
    },
  },
  {
    name: 'a reservation opened by one version, settled by the other, and settled again by the first',
    needs: ['reserve', 'slidingWindow', 'slidingWindowLog', 'fixedWindow'],
    async run(from, to, redis) {
      const row = ROWS.find(({ name }) => name === 'four at once')!;
      const [a, b] = [from, to].map((side) => side.limiter(row.limits(side.library, UNITS))) as [
        RateLimiter,
        RateLimiter,
      ];
      const opened = await a.reserve(WHO, { cost: 6, ttl: '1h' });
      const record = await newKey(redis, '*#r:*', []);
      const mine = await b.reserve(WHO, { cost: 1, ttl: '1h' });
      const own = await newKey(redis, '*#r:*', [record]);
      await agree(a, b, UNITS - 7);
      // A handle exists only in its process. The versions share the record, so the other's handle reads this one's.
      await redis.command('RENAME', record, own);
      expect(await mine.settle(2)).toMatchObject({ charged: 2, uncharged: 0, expired: false });
      await agree(a, b, UNITS - 3);
      await redis.command('RENAME', own, record);
      expect(await opened.settle(5)).toMatchObject({ charged: 2, uncharged: 0, expired: false });
      await agree(a, b, UNITS - 3);
    },
  },
  {
    name: 'a place taken by one version, renewed and freed by the other',
    needs: ['acquire', 'concurrency'],
    async run(from, to, redis) {
      const [a, b] = [from, to].map((side) =>
        side.limiter([side.library.concurrency({ max: 2, ttl: '1h' })]),
      ) as [RateLimiter, RateLimiter];
      const mine = await b.acquire(WHO);
      const taken = await a.acquire(WHO);
      await agree(a, b, 0);
      expect((await b.acquire(WHO)).allowed).toBe(false);
      // The other version's handle must use the place that this version took.
      const key = await newKey(redis, '*handed*', []);
      const end = await redis.command('ZSCORE', key, taken.leaseId!);
      expect(await redis.command('ZREM', key, taken.leaseId!, mine.leaseId!)).toBe(2);
      await redis.command('ZADD', key, end, mine.leaseId!);
      await agree(a, b, 1);
      expect(await mine.renew()).toBe(true);
      expect(await taken.renew()).toBe(false);
      expect(await mine.release()).toBe(true);
      await agree(a, b, 2);
    },
  },
];
