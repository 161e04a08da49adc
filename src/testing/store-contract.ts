import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { tokenBucket } from '../algorithms/token-bucket.ts';
import type { AllowedDecision, Decision, LimitedDecision } from '../base/decision.ts';
import type { RateLimiterOptions } from '../limiter/limiter-options.ts';
import type { RateLimiter } from '../limiter/rate-limiter.ts';
import { casesOf } from './contract.ts';
import type { Checks, ContractCase } from './contract.ts';

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Options that a contract passes for a limiter: all but those of its store. */
export type StoreContractOptions = Without<
  RateLimiterOptions,
  'redis' | 'store' | 'cluster' | 'timeoutMs' | 'maxInFlight' | 'sharding'
>;

/** A store to be tested by `storeContract`: makes limiters on it, and lets its time pass. */
export interface StoreUnderTest {
  /**
   * Makes a limiter on the store. All of them share one store, and the contract closes each. For a slow store, set a
   * `timeoutMs` that is not reached: a degraded decision breaks the contract.
   */
  makeLimiter(options: StoreContractOptions): RateLimiter;
  /**
   * Lets at least this many milliseconds pass on the store's clock. The contract never asks for more than 200 at
   * once, so really waiting is cheap.
   */
  advance(ms: number): unknown;
}

/**
 * Checks every store through the public API: your own store, or a server that speaks Redis's protocol. All keys begin
 * with `contract-` and expire within hours.
 *
 * @example
 * import { storeContract } from 'distributed-rate-limiter/testing';
 * import { setTimeout } from 'node:timers/promises';
 *
 * const contract = storeContract({
 *   makeLimiter: (options) => new RateLimiter({ ...options, redis, timeoutMs: 5_000 }),
 *   advance: (ms) => setTimeout(ms + 1),
 * });
 * for (const { name, run } of contract) test(name, run);
 */
export function storeContract(subject: StoreUnderTest): readonly ContractCase[] {
  return casesOf(CHECKS, async (check) => {
    const limiters: RateLimiter[] = [];
    const namespace = `contract-${randomUUID()}`;
    try {
      await check({
        make: (options) => {
          const limiter = subject.makeLimiter({ namespace, ...options });
          limiters.push(limiter);
          return limiter;
        },
        advance: async (ms) => {
          await subject.advance(ms);
        },
      });
    } finally {
      await Promise.all(limiters.map((limiter) => limiter.close()));
    }
  });
}

interface Bench {
  /** Makes a limiter, by default in the case's own namespace. */
  readonly make: (options: StoreContractOptions) => RateLimiter;
  readonly advance: (ms: number) => Promise<void>;
}

/** The bound that `StoreUnderTest.advance` promises. */
const LONGEST_ADVANCE_MS = 200;

/** A refill so slow that none comes while a case runs. */
const SLOW = '100d';

const CHECKS: Checks<Bench> = {
  'admits exactly the first calls of a simultaneous burst, and counts down': async ({ make }) => {
    const limiter = make({ rate: 50, period: SLOW });
    const decisions = await many(200, () => limiter.allow('user'));
    assert.deepEqual(
      decisions.map(({ allowed }) => allowed),
      Array.from({ length: 200 }, (_, i) => i < 50),
    );
    assert.deepEqual(
      decisions.slice(0, 51).map(({ remaining }) => remaining),
      [...Array.from({ length: 50 }, (_, i) => 49 - i), 0],
    );
  },

  'admits exactly the burst of calls made one after another': async ({ make }) => {
    const limiter = make({ rate: 3, period: SLOW });
    const allowed: boolean[] = [];
    for (let i = 0; i < 5; i++) {
      allowed.push(known(await limiter.allow('user')).allowed);
    }
    assert.deepEqual(allowed, [true, true, true, false, false]);
  },

  'returns every field of an allowed decision': async ({ make }) => {
    const decision = allowedOf(
      await make({ rate: 4, period: '1h', burst: 8 }).allow('user', { cost: 2 }),
    );
    const { resetAfterMs, resetAtMs } = decision;
    assert.deepEqual(decision, {
      allowed: true,
      degraded: false,
      reason: 'within_limit',
      source: 'store',
      cost: 2,
      limits: [
        {
          name: 'default',
          algorithm: 'token_bucket',
          limit: 8,
          remaining: 6,
          used: 2,
          resetAfterMs: 1_800_000,
          refused: false,
          shadow: false,
        },
      ],
      limitName: 'default',
      limit: 8,
      used: 2,
      remaining: 6,
      resetAfterMs,
      resetAtMs,
    });
    assert.equal(resetAfterMs, 1_800_000);
    assert.ok(Number.isSafeInteger(resetAtMs));
  },

  'returns every field of a limited decision': async ({ make }) => {
    const limiter = make({ rate: 4, period: '1h', burst: 2 });
    const {
      result: [first, refused],
      elapsedMs,
    } = await measured(() => many(2, () => limiter.allow('user', { cost: 2 })));
    const { resetAtMs } = allowedOf(first!);
    const decision = limitedOf(refused!);
    // The second call waits for everything that the first one took.
    const { retryAfterMs } = decision;
    assertWithin(retryAfterMs, 1_800_000, elapsedMs);
    assert.deepEqual(decision, {
      allowed: false,
      degraded: false,
      reason: 'limited',
      source: 'store',
      cost: 2,
      limits: [
        {
          name: 'default',
          algorithm: 'token_bucket',
          limit: 2,
          remaining: 0,
          used: 2,
          resetAfterMs: retryAfterMs,
          refused: true,
          shadow: false,
          retryAfterMs,
        },
      ],
      limitName: 'default',
      limit: 2,
      used: 2,
      remaining: 0,
      resetAfterMs: retryAfterMs,
      resetAtMs,
      retryAfterMs,
      limitedBy: ['default'],
    });
  },

  'charges nothing for a refused call': async ({ make }) => {
    const limiter = make({ rate: 5, period: SLOW });
    const decisions = await Promise.all([
      limiter.allow('user', { cost: 3 }),
      limiter.allow('user', { cost: 3 }),
      limiter.allow('user', { cost: 2 }),
      limiter.allow('user'),
    ]);
    assert.deepEqual(allowedEach(decisions), [true, false, true, false]);
    assert.deepEqual(
      decisions.map(({ remaining }) => remaining),
      [2, 2, 0, 0],
    );
  },

  'peeks without charging, and returns what allow would return': async ({ make }) => {
    const limiter = make({ rate: 2, period: SLOW });
    const fresh = allowedOf(await limiter.peek('user'));
    assert.equal(fresh.remaining, 2);
    assert.equal(fresh.resetAfterMs, 0);
    await many(3, () => limiter.peek('user'));
    assert.equal(allowedOf(await limiter.allow('user', { cost: 2 })).remaining, 0);
    assert.equal(limitedOf(await limiter.peek('user')).remaining, 0);
  },

  'resets one identity to the state before its first call, and no other': async ({ make }) => {
    const limiter = make({ rate: 1, period: SLOW });
    await Promise.all([limiter.allow('one'), limiter.allow('other')]);
    await limiter.reset('one');
    const fresh = allowedOf(await limiter.peek('one'));
    assert.equal(fresh.remaining, 1);
    assert.equal(fresh.resetAfterMs, 0);
    limitedOf(await limiter.peek('other'));
  },

  'resets an identity that was never used': async ({ make }) => {
    const limiter = make({ rate: 1, period: SLOW });
    await limiter.reset('user');
    allowedOf(await limiter.allow('user'));
  },

  'keeps the order of the calls of one turn, whatever the verb': async ({ make }) => {
    const limiter = make({ rate: 1, period: SLOW });
    const [first, second, , third, fourth] = await Promise.all([
      limiter.allow('user'),
      limiter.allow('user'),
      limiter.reset('user'),
      limiter.peek('user'),
      limiter.allow('user'),
    ]);
    assert.deepEqual(allowedEach([first, second, third, fourth]), [true, false, true, true]);
    limitedOf(await limiter.allow('user'));
  },

  'lets a refused call pass after its retryAfterMs': async ({ make, advance }) => {
    // On a slow machine the period may be over before the second call is decided: then a longer one is tried.
    for (let periodMs = 150; ; periodMs *= 2) {
      const limiter = make({ limits: [tokenBucket({ rate: 1, period: `${periodMs}ms` })] });
      const identity = `user:${periodMs}`;
      const {
        result: [, second],
        elapsedMs,
      } = await measured(() => many(2, () => limiter.allow(identity)));
      if (known(second!).allowed) {
        assert.ok(elapsedMs >= periodMs, `two calls passed within ${elapsedMs} of ${periodMs} ms`);
        continue;
      }
      const { retryAfterMs } = limitedOf(second!);
      assertWithin(retryAfterMs, periodMs, elapsedMs);
      for (let leftMs = retryAfterMs; leftMs > 0; leftMs -= LONGEST_ADVANCE_MS) {
        await advance(Math.min(leftMs, LONGEST_ADVANCE_MS));
      }
      allowedOf(await limiter.allow(identity));
      return;
    }
  },

  'recovers fully after resetAfterMs': async ({ make, advance }) => {
    const limiter = make({ rate: 10, period: '150ms' });
    const { resetAfterMs } = allowedOf(await limiter.allow('user', { cost: 10 }));
    assert.equal(resetAfterMs, 150);
    await advance(resetAfterMs);
    const fresh = allowedOf(await limiter.peek('user'));
    assert.equal(fresh.remaining, 10);
    assert.equal(fresh.resetAfterMs, 0);
  },

  'admits at most burst + rate · Δ / period, by its own clock': async ({ make, advance }) => {
    const limiter = make({ rate: 1, period: '20ms', burst: 2 });
    const instants: number[] = [];
    let admitted = 0;
    for (let i = 0; i < 8; i++) {
      for (const decision of await many(3, () => limiter.allow('user'))) {
        const { allowed, resetAtMs, resetAfterMs } = known(decision);
        admitted += allowed ? 1 : 0;
        instants.push(resetAtMs - resetAfterMs);
      }
      await advance(15);
    }
    // Both times are rounded up, so their difference is off by less than 1 ms.
    const elapsedMs = instants.at(-1)! - instants[0]! + 2;
    const most = 2 + Math.floor(elapsedMs / 20);
    assert.ok(admitted <= most, `${admitted} of at most ${most} in ${elapsedMs} ms`);
    // Eight rounds, each at least 15 ms after the previous one: 105 ms of refill.
    assert.ok(admitted >= 6, `only ${admitted} in ${elapsedMs} ms`);
  },

  'reports the same instant of reset until the next charge': async ({ make, advance }) => {
    const limiter = make({ rate: 2, period: '1h' });
    const first = allowedOf(await limiter.allow('user', { cost: 2 }));
    await advance(5);
    const refused = limitedOf(await limiter.allow('user'));
    await advance(5);
    const seen = limitedOf(await limiter.peek('user'));
    assert.equal(refused.resetAtMs, first.resetAtMs);
    assert.equal(seen.resetAtMs, first.resetAtMs);
  },

  'charges all limits of a call or none': async ({ make }) => {
    const limiter = make({
      limits: [
        tokenBucket({ rate: 3, period: SLOW }),
        tokenBucket({ name: 'small', rate: 2, period: SLOW }),
        tokenBucket({ name: 'large', rate: 5, period: SLOW }),
      ],
    });
    const decisions = await many(3, () => limiter.allow('user'));
    assert.deepEqual(allowedEach(decisions), [true, true, false]);
    const refused = limitedOf(decisions[2]!);
    assert.deepEqual(refused.limitedBy, ['small']);
    assert.deepEqual(
      refused.limits.map(({ name, remaining, refused: by }) => [name, remaining, by]),
      [
        ['default', 1, false],
        ['small', 0, true],
        ['large', 3, false],
      ],
    );
    assert.equal(refused.remaining, 0);
    await limiter.reset('user');
    const fresh = allowedOf(await limiter.peek('user'));
    assert.deepEqual(
      fresh.limits.map(({ remaining }) => remaining),
      [3, 2, 5],
    );
  },

  'names every limit that refused': async ({ make }) => {
    const limiter = make({
      limits: [
        tokenBucket({ name: 'one', rate: 1, period: '1h' }),
        tokenBucket({ name: 'two', rate: 9, period: SLOW }),
        tokenBucket({ name: 'three', rate: 1, period: '2h' }),
      ],
    });
    const {
      result: [, refused],
      elapsedMs,
    } = await measured(() => many(2, () => limiter.allow('user')));
    const { limitedBy, retryAfterMs } = limitedOf(refused!);
    assert.deepEqual(limitedBy, ['one', 'three']);
    assertWithin(retryAfterMs, 7_200_000, elapsedMs);
  },

  'keeps the usage when a call brings its own limits': async ({ make }) => {
    const limiter = make({ rate: 10, period: SLOW });
    const larger = [tokenBucket({ rate: 10, period: SLOW, burst: 12 })];
    allowedOf(await limiter.allow('user', { cost: 10 }));
    limitedOf(await limiter.allow('user'));
    assert.equal(allowedOf(await limiter.allow('user', { limits: larger })).limits[0]?.limit, 12);
    limitedOf(await limiter.allow('user', { limits: larger, cost: 2 }));
  },

  'refuses an impossible cost and charges nothing': async ({ make }) => {
    const limiter = make({ rate: 3, period: SLOW });
    assert.deepEqual(await limiter.allow('user', { cost: 4 }), {
      allowed: false,
      degraded: false,
      reason: 'impossible',
      source: 'none',
      cost: 4,
      limits: [
        { name: 'default', algorithm: 'token_bucket', limit: 3, refused: true, shadow: false },
      ],
      limitedBy: ['default'],
      maxCost: 3,
    });
    assert.equal(allowedOf(await limiter.allow('user', { cost: 3 })).remaining, 0);
  },

  'counts the largest numbers exactly': async ({ make }) => {
    const limiter = make({ rate: 1_000_000_000, period: '365d' });
    const first = allowedOf(await limiter.allow('user', { cost: 999_999_999 }));
    assert.ok(first.remaining >= 1 && first.remaining <= 1_000, `${first.remaining} remaining`);
  },

  'counts rates exactly that do not divide their period': async ({ make }) => {
    const limiter = make({ rate: 7, period: '100d' });
    for (let cost = 1; cost <= 7; cost++) {
      const { resetAfterMs } = allowedOf(await limiter.allow(`user:${cost}`, { cost }));
      // This many sevenths of 100 days, in milliseconds, rounded up.
      assert.equal(resetAfterMs, Math.ceil((8_640_000_000 * cost) / 7));
    }
    const { result: decisions, elapsedMs } = await measured(() =>
      many(9, () => limiter.allow('user')),
    );
    assert.deepEqual(
      decisions.map(({ remaining }) => remaining),
      [6, 5, 4, 3, 2, 1, 0, 0, 0],
    );
    assertWithin(limitedOf(decisions[7]!).retryAfterMs, 1_234_285_715, elapsedMs);
  },

  'accepts any text as identity, and keeps different ones apart': async ({ make }) => {
    const limiter = make({ rate: 1, period: SLOW });
    const identities = [
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
      '{slot}',
      '*',
      ' ',
      'a',
      'A',
      'a:b',
      '\u0000',
      '🙂',
      'e\u0301',
      '\u00e9',
      'line\nbreak\r\n',
      'x'.repeat(1_024),
      '€'.repeat(341),
      ['a', 'b'],
      ['ab'],
      ['a', 'bc'],
      ['ab', 'c'],
      ['a', ':', 'b'],
    ];
    const first = await Promise.all(identities.map((identity) => limiter.allow(identity)));
    assert.deepEqual(
      allowedEach(first),
      identities.map(() => true),
    );
    const second = await Promise.all(identities.map((identity) => limiter.allow(identity)));
    assert.deepEqual(
      allowedEach(second),
      identities.map(() => false),
    );
  },

  'keeps a thousand identities of one turn apart': async ({ make }) => {
    const limiter = make({ rate: 2, period: SLOW });
    const identities = Array.from({ length: 1_000 }, (_, i) => `user:${i}`);
    const decisions = await Promise.all(
      identities.map((identity, i) => limiter.allow(identity, { cost: 1 + (i % 2) })),
    );
    assert.deepEqual(
      decisions.map(({ remaining }) => remaining),
      identities.map((_, i) => 1 - (i % 2)),
    );
  },

  'shares one limit between limiters of one namespace': async ({ make }) => {
    const one = make({ rate: 5, period: SLOW });
    const other = make({ rate: 5, period: SLOW });
    const decisions = await many(10, (i) => (i % 2 === 0 ? one : other).allow('user'));
    assert.deepEqual(
      allowedEach(decisions),
      Array.from({ length: 10 }, (_, i) => i < 5),
    );
  },

  'keeps namespaces, names and secrets apart': async ({ make }) => {
    const namespace = `contract-${randomUUID()}`;
    const secrets = [randomUUID(), randomUUID()];
    const limiters = [
      make({ rate: 1, period: SLOW, namespace }),
      make({ rate: 1, period: SLOW, namespace: `${namespace}/x` }),
      make({ limits: [tokenBucket({ name: 'a', rate: 1, period: SLOW })], namespace }),
      make({ limits: [tokenBucket({ name: 'b', rate: 1, period: SLOW })], namespace }),
      ...secrets.map((hashSecret) => make({ rate: 1, period: SLOW, namespace, hashSecret })),
    ];
    const decisions = await Promise.all(limiters.map((limiter) => limiter.allow('user')));
    assert.deepEqual(
      allowedEach(decisions),
      limiters.map(() => true),
    );
    const hashSecret = Buffer.from(secrets[0]!);
    limitedOf(await make({ rate: 1, period: SLOW, namespace, hashSecret }).allow('user'));
  },

  'bans an identity that a limit keeps refusing, and lets it call again afterwards': async ({
    make,
    advance,
  }) => {
    const ban = { after: 3, within: '1m', for: '150ms' } as const;
    const limiter = make({ limits: [tokenBucket({ rate: 1, period: SLOW, ban })], blocks: true });
    const decisions = await many(6, () => limiter.allow('user'));
    assert.deepEqual(
      decisions.map(({ reason }) => reason),
      ['within_limit', 'limited', 'limited', 'limited', 'blocked', 'blocked'],
    );
    assert.deepEqual(
      decisions.map((decision) => (decision.reason === 'limited' ? decision.bannedForMs : 0)),
      [0, undefined, undefined, 150, 0, 0],
    );
    await advance(150);
    limitedOf(await limiter.allow('user'));
    allowedOf(await limiter.allow('other'));
  },

  'never bans for peeks and blocked calls': async ({ make }) => {
    const ban = { after: 2, within: '1h', for: '1h' } as const;
    const limiter = make({ limits: [tokenBucket({ rate: 1, period: SLOW, ban })], blocks: true });
    allowedOf(await limiter.allow('user'));
    await many(5, () => limiter.peek('user'));
    await limiter.block('user', '1h');
    await many(5, () => limiter.allow('user'));
    await limiter.unblock('user');
    assert.equal(limitedOf(await limiter.allow('user')).bannedForMs, undefined);
    assert.equal(limitedOf(await limiter.allow('user')).bannedForMs, 3_600_000);
  },

  'resolves ready() repeatedly without charging an identity': async ({ make }) => {
    const limiter = make({ rate: 1, period: SLOW });
    await limiter.ready();
    await limiter.ready();
    allowedOf(await limiter.allow('user'));
  },

  'settles calls under way when it is closed': async ({ make }) => {
    const limiter = make({ rate: 2, period: SLOW });
    const pending = many(3, () => limiter.allow('user'));
    await limiter.close();
    assert.deepEqual(allowedEach(await pending), [true, true, false]);
    await assert.rejects(limiter.allow('user'), { code: 'ERR_LIMITER_CLOSED' });
  },
};

/** Measures the duration: a store that reads its clock for each call may have read it this much later. */
async function measured<T>(run: () => Promise<T>): Promise<{ result: T; elapsedMs: number }> {
  const start = performance.now();
  const result = await run();
  return { result, elapsedMs: Math.ceil(performance.now() - start) };
}

/** Checks a time that began to run in an earlier call, at most `elapsedMs` ago. */
function assertWithin(ms: number, fullMs: number, elapsedMs: number): void {
  // Two rounded clocks may differ by one millisecond more.
  assert.ok(
    ms <= fullMs && ms >= fullMs - elapsedMs - 1,
    `${ms} ms is not within ${elapsedMs} ms of ${fullMs} ms`,
  );
}

/** Makes several calls in one turn. */
function many(count: number, call: (i: number) => Promise<Decision>): Promise<Decision[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => call(i)));
}

function known(decision: Decision): AllowedDecision | LimitedDecision {
  if (decision.degraded) {
    throw decision.error;
  }
  if (
    decision.reason === 'impossible' ||
    decision.reason === 'blocked' ||
    decision.reason === 'unlimited'
  ) {
    assert.fail(`the decision is \`${decision.reason}\``);
  }
  return decision;
}

function allowedOf(decision: Decision): AllowedDecision {
  const made = known(decision);
  return made.allowed ? made : assert.fail(`refused by ${made.limitedBy.join(', ')}`);
}

function limitedOf(decision: Decision): LimitedDecision {
  const made = known(decision);
  return made.allowed ? assert.fail('allowed where it must be refused') : made;
}

function allowedEach(decisions: readonly Decision[]): boolean[] {
  return decisions.map((decision) => known(decision).allowed);
}
