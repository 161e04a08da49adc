import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import type { Decision } from 'distributed-rate-limiter';
import { digestIdentity } from '../../../src/base/identity.ts';
import {
  startSteppedRedis,
  steppedClockMissing,
  timeOf,
  waitUntil,
} from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

type Real = Extract<Decision, { degraded: false; reason: 'within_limit' | 'limited' }>;

const S = 1_000;
const HOUR = 3_600 * S;

/**
 * Slow limits: much less than one unit recovers while the test runs, so only steps of the clock change the result.
 * `capacityMs` is the time to recover the whole burst (C in the design), rounded up.
 */
const limits = [
  {
    name: 'whole microseconds',
    namespace: 'whole-microseconds',
    rate: 10,
    period: '1000s',
    burst: 10,
    capacityMs: 1_000 * S,
  },
  {
    name: 'parts of them',
    namespace: 'parts-of-them',
    rate: 7,
    period: '10000s',
    burst: 5,
    capacityMs: 7_142_858,
  },
  {
    name: 'a burst of one',
    namespace: 'a-burst-of-one',
    rate: 1,
    period: '100s',
    burst: 1,
    capacityMs: 100 * S,
  },
  {
    name: 'many at once',
    namespace: 'many-at-once',
    rate: 6,
    period: '1h',
    burst: 200,
    capacityMs: 120_000 * S,
  },
] as const;

const noClock = steppedClockMissing();

/**
 * The arrival time in a stored state, in whole microseconds and n-ths of one. A clock that stepped back makes the state
 * long: times stand in microseconds after the last charge, and the limit has a line of its own once it was charged
 * again. Until then its arrival time is at most `top` after that charge.
 */
function arrivalOf(state: string, top: bigint): readonly [whole: bigint, parts: bigint, n: bigint] {
  const [head = '', line] = state.split(',');
  const [first = '', second = '0', third = '1', tat = '', rem = '', n = ''] = head.split(':');
  if (second !== 'v1') {
    return [BigInt(first), BigInt(second), BigInt(third)];
  }
  const at = BigInt(third);
  if (line === undefined) {
    return BigInt(tat) < top ? [at + BigInt(tat), BigInt(rem), BigInt(n)] : [at + top, 0n, 1n];
  }
  const [, , size = '', , , ahead = '', parts = ''] = line.split(':');
  return [at + BigInt(ahead), BigInt(parts), BigInt(size)];
}

describe.skipIf(noClock !== undefined)(
  `when Redis's clock steps${noClock === undefined ? '' : ` (skipped: ${noClock})`}`,
  () => {
    let redis: RedisServer;
    let clock: Awaited<ReturnType<typeof startSteppedRedis>>['clock'];
    let close: () => Promise<void>;
    let client: Redis;
    let identity: string;
    let identities = 0;

    beforeAll(async () => {
      ({ redis, clock, close } = await startSteppedRedis());
      client = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: 0 });
    });
    afterAll(async () => {
      client.disconnect();
      await close();
    });
    beforeEach(startAfresh);

    function startAfresh(): void {
      clock.restore();
      identities += 1;
      identity = `user:${identities}`;
    }

    describe.each(limits)('$name', ({ namespace, rate, period, burst, capacityMs }) => {
      let limiter: RateLimiter;
      beforeAll(() => {
        limiter = new RateLimiter({
          redis: client,
          namespace,
          rate,
          period,
          burst,
          failStrategy: 'throw',
          timeoutMs: 10_000,
        });
      });
      const periodMs = Number(period.replace(/\D/g, '')) * (period.endsWith('h') ? HOUR : S);
      /** The most units that can recover in this time, for a bucket that holds at most its burst. */
      const regained = (ms: number): number => Math.min(burst, Math.ceil((ms * rate) / periodMs));

      /** Every answer is a decision of Redis, not degraded. */
      async function real(decision: Promise<Decision>): Promise<Real> {
        const made = await decision;
        if (
          made.degraded ||
          made.reason === 'impossible' ||
          made.reason === 'blocked' ||
          made.reason === 'unlimited'
        )
          throw new Error(`not a decision of Redis's: ${made.reason}`);
        return made;
      }
      /** Takes all units available at this moment; returns their number and the last answer. */
      async function drain(): Promise<{ admitted: number; refusal: Real }> {
        for (let admitted = 0; ; admitted++) {
          const decision = await real(limiter.allow(identity));
          if (!decision.allowed) return { admitted, refusal: decision };
        }
      }
      /** How long Redis's clock must advance until this cost passes, as Redis answers. */
      async function lockout(cost = 1): Promise<number> {
        return (await real(limiter.peek(identity, { cost }))).retryAfterMs ?? 0;
      }

      test.each([
        ['1 s back', -1 * S],
        ['60 s back', -60 * S],
        ['1 h back', -1 * HOUR],
        ['30 h back', -30 * HOUR],
      ])('%s: no caller waits longer than C + 1 s, and nothing is granted', async (_, step) => {
        expect((await drain()).admitted).toBe(burst);
        clock.step(step);
        // The first call after the step may have any cost: no call waits longer than for a whole recovery.
        expect(await lockout(burst)).toBeLessThanOrEqual(capacityMs + 1 * S);
        expect(await lockout()).toBeLessThanOrEqual(capacityMs + 1 * S);
        const { admitted, refusal } = await drain();
        expect(admitted).toBe(0);
        expect(refusal.retryAfterMs).toBeLessThanOrEqual(capacityMs + 1 * S);
        expect(refusal.resetAfterMs).toBeLessThanOrEqual(capacityMs + 1 * S);
      });

      test.each([
        ['1 s back and forth', -1 * S],
        ['0.9 s forth and back', 0.9 * S],
        ['60 s back and forth', -60 * S],
        ['1 h back and forth', -1 * HOUR],
        ['1 h forth and back', 1 * HOUR],
        ['60 s forth and back', 60 * S],
      ])('%s: at most one extra burst per cycle, and none for steps up to 1 s', async (_, step) => {
        const cycles = 3;
        let total = (await drain()).admitted;
        expect(total).toBe(burst);
        for (let cycle = 0; cycle < cycles; cycle++) {
          let extra = 0;
          clock.step(step);
          extra += (await drain()).admitted;
          // Without this call the second step would be a step back of a clock that no call has read.
          const between = await drain();
          extra += between.admitted;
          clock.step(-step);
          const after = await drain();
          extra += after.admitted;
          expect(extra).toBeLessThanOrEqual(Math.abs(step) <= 1 * S ? 0 : regained(Math.abs(step)));
          expect(after.refusal.retryAfterMs).toBeLessThanOrEqual(capacityMs + 1 * S);
          total += extra;
        }
        expect(total).toBeLessThanOrEqual(
          burst + (Math.abs(step) <= 1 * S ? 0 : cycles * regained(Math.abs(step))),
        );
      });

      test.each([-1 * S, -0.5 * S, -1])(
        'a step of %i ms leaves the stored state unchanged',
        async (step) => {
          await drain();
          const before = await redis.command('GET', keyOfIdentity());
          clock.step(step);
          expect((await drain()).admitted).toBe(0);
          await lockout(burst);
          expect(await redis.command('GET', keyOfIdentity())).toBe(before);
        },
      );

      test('a second step back costs no longer wait than the first, then the full burst returns', async () => {
        await drain();
        clock.step(-1 * HOUR);
        expect((await drain()).admitted).toBe(0);
        clock.step(-1 * HOUR);
        const { admitted, refusal } = await drain();
        expect(admitted).toBe(0);
        expect(refusal.retryAfterMs).toBeLessThanOrEqual(capacityMs + 1 * S);
        clock.step(refusal.retryAfterMs ?? NaN);
        expect((await real(limiter.allow(identity))).allowed).toBe(true);
        clock.step(refusal.resetAfterMs);
        const {
          limits: [state],
        } = await real(limiter.peek(identity));
        expect(state?.remaining).toBe(burst);
      });

      describe.each([
        ['no step', []],
        ['1 s back', [-1 * S]],
        ['60 s back', [-60 * S]],
        ['1 h back', [-1 * HOUR]],
        ['1 h forth', [1 * HOUR]],
        ['1 h forth and back', [1 * HOUR, -1 * HOUR]],
      ])('after %s', (_, steps) => {
        beforeEach(drainAndStep);

        async function drainAndStep(): Promise<void> {
          await drain();
          for (const step of steps) {
            clock.step(step);
            await drain();
          }
        }

        test.each([...new Set([1, burst])])(
          'a refused call of cost %i passes after its retryAfterMs',
          async (cost) => {
            const before = await micros();
            const { allowed, retryAfterMs = NaN } = await real(limiter.allow(identity, { cost }));
            const after = await micros();
            expect(allowed).toBe(false);
            // Measured from the instant of the decision, rounded up to the millisecond.
            const passes = await passesAt(cost);
            expect(retryAfterMs).toBeGreaterThanOrEqual(Math.ceil((passes - after) / 1_000));
            expect(retryAfterMs).toBeLessThanOrEqual(Math.ceil((passes - before) / 1_000));

            clock.step(retryAfterMs);
            expect((await real(limiter.allow(identity, { cost }))).allowed).toBe(true);
          },
        );

        test.each([...new Set([1, burst])])(
          'a refused call of cost %i does not pass 1 ms before its retryAfterMs',
          async (cost) => {
            // Time passes while the call is under way, so only calls surely made too early count. A machine too busy to
            // call within a millisecond gets a margin.
            let leadMicros = 900;
            const early = await waitUntil(
              'an answer from the last moment before it',
              async () => {
                startAfresh();
                await drainAndStep();
                const passes = await passesAt(cost);
                clock.step((passes - leadMicros - (await micros())) / 1_000);
                const decision = await real(limiter.peek(identity, { cost }));
                if ((await micros()) < passes) return decision;
                leadMicros += 500;
                return undefined;
              },
              { everyMs: 0, timeoutMs: 25_000 },
            );
            expect(early?.allowed).toBe(false);
            expect(early?.retryAfterMs).toBeLessThanOrEqual(Math.ceil(leadMicros / 1_000));
            clock.step(Math.ceil(leadMicros / 1_000));
            expect((await real(limiter.allow(identity, { cost }))).allowed).toBe(true);
          },
        );
      });

      /**
       * The earliest time at which a cost passes, in microseconds of Redis's clock, computed in exact fractions from
       * the arrival time in its key. A call passes if and only if arrival + cost <= now + burst, both as recovery
       * times.
       */
      async function passesAt(cost: number): Promise<number> {
        const state = String(await redis.command('GET', keyOfIdentity()));
        const perPeriod = BigInt(rate);
        const recovery = BigInt(burst) * BigInt(periodMs) * 1_000n;
        const [whole, parts, size] = arrivalOf(
          state,
          (recovery + perPeriod - 1n) / perPeriod + 1_000_000n,
        );
        const arrival = (whole * size + parts) * perPeriod;
        const left = BigInt(burst - cost) * BigInt(periodMs) * 1_000n * size;
        const scale = size * perPeriod;
        return Number((arrival - left + scale - 1n) / scale);
      }

      function keyOfIdentity(): string {
        return `${namespace}:token_bucket:${digestIdentity(identity, undefined)}`;
      }

      async function micros(): Promise<number> {
        return Math.round((await timeOf(redis)) * 1_000);
      }
    });
  },
);
