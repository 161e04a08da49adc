import { setTimeout as sleep } from 'node:timers/promises';
import { fixedWindow, RateLimiter, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { Ledger, runClients, settleSurely, TIMEOUT_MS } from './faulty-clients.ts';
import type { Seen } from './faulty-clients.ts';

/**
 * Identities whose reservations are always settled; sometimes settled too late; or sometimes never, as after a crash.
 */
const IDS = ['steady', 'expiring', 'crashing'] as const;

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server.close();
});

function freshLedgers(): ReadonlyMap<string, Ledger> {
  return new Map(IDS.map((id) => [id, new Ledger()]));
}

/** Makes one reservation and records its possible charges. Faults on its connection go on meanwhile. */
async function oneReservation(
  limiter: RateLimiter,
  random: Random,
  ledgers: ReadonlyMap<string, Ledger>,
  seen: Seen,
): Promise<void> {
  const id = random.pick(IDS);
  const ledger = ledgers.get(id)!;
  const cost = random.int(1, 50);
  const actual = random.chance(20) ? 0 : random.int(0, 100);
  const expires = id === 'expiring' && random.chance(30);
  const handle = await limiter.reserve(id, { cost, ttl: expires ? '60ms' : '1h' });
  seen.degraded += handle.degraded ? 1 : 0;
  if (!handle.allowed) {
    seen.refused += 1;
    // Without an answer it may have been reserved, or already given back.
    ledger.add(...(handle.degraded ? [0, cost] : [0]));
    await sleep(random.int(5, 25));
    return;
  }
  await sleep(expires ? 80 : random.int(0, 10));
  const fate = id === 'crashing' ? random.int(1, 4) : 0;
  if (fate === 1) {
    seen.crashed += 1;
    ledger.add(...(handle.degraded ? [0, cost] : [cost]));
    return;
  }
  if (fate === 2) {
    seen.crashed += 1;
    handle.settle(actual).catch(() => undefined);
    ledger.add(...(handle.degraded ? [0, cost, actual, cost + actual] : [cost, actual]));
    return;
  }
  const settlement = await settleSurely(handle, actual, random, seen);
  if (settlement === undefined) {
    ledger.add(...(handle.degraded ? [0, cost, actual, cost + actual] : [cost, actual]));
  } else if (settlement.expired) {
    seen.expired += 1;
    expect(settlement).toEqual({
      charged: cost,
      uncharged: Math.max(0, actual - cost),
      expired: true,
    });
    ledger.add(cost);
  } else {
    seen.settled += 1;
    expect(settlement.charged + settlement.uncharged).toBe(actual);
    // A reservation that was never confirmed had expired when it was settled, so the settlement may be charged in
    // addition.
    const { charged } = settlement;
    ledger.add(...(handle.degraded && expires ? [charged, charged + cost] : [charged]));
  }
}

/** The units that each limit holds for an identity. */
async function usedOf(limits: readonly Limit[], id: string): Promise<readonly number[]> {
  const observer = new RateLimiter({ redis: server.url, limits, timeoutMs: 5_000 });
  const decision = await observer.peek(id);
  await observer.close();
  return decision.limits.map(({ limit, remaining }) => limit - remaining!);
}

const EVERY = ['settled', 'retried', 'degraded', 'expired', 'crashed'] as const;

test('every settlement takes effect exactly once despite lost answers, retries, crashes and expiry', async () => {
  // Nothing is refused and no unit recovers, so a limit holds exactly the sum of the charges.
  const rate = 100_000_000;
  const limits = (): readonly Limit[] => [
    tokenBucket({ rate: 10_000, period: '366d', burst: 80_000 }),
    slidingWindow({ name: 'sliding', rate, period: '366d' }),
    fixedWindow({ name: 'fixed', rate, period: '366d' }),
  ];
  const ledgers = freshLedgers();
  const { seen } = await runClients(
    server,
    limits,
    'open',
    seed,
    (so) => EVERY.every((what) => so[what] > 10),
    (limiter, random, so) => oneReservation(limiter, random, ledgers, so),
  );
  console.log(`seed ${seed}`, JSON.stringify({ seen, ledgers: [...ledgers] }));
  for (const [id, { least, most }] of ledgers) {
    for (const used of await usedOf(limits(), id)) {
      expect(used, `${id}, DRL_SEED=${seed}`).toBeGreaterThanOrEqual(least);
      expect(used, `${id}, DRL_SEED=${seed}`).toBeLessThanOrEqual(most);
    }
  }
  // If every settlement was answered, least and most are equal.
  const { certain, open } = ledgers.get('steady')!;
  expect(certain).toBeGreaterThan(30);
  expect(open).toBeLessThan(certain / 5);
  for (const what of EVERY) {
    expect(seen[what]).toBeGreaterThan(10);
  }
}, 120_000);

test.each(['closed', 'open'] as const)(
  'with failStrategy %s, charges less refunds stay within burst, debt and refill',
  async (failStrategy) => {
    const limits = (): readonly Limit[] => [
      tokenBucket({ rate: 100, period: '1s', burst: 60, maxDebt: 20 }),
      slidingWindow({ name: 'sliding', rate: 10_000, period: '1h' }),
    ];
    const ledgers = freshLedgers();
    const { seen, elapsedMs } = await runClients(
      server,
      limits,
      failStrategy,
      seed,
      ({ retried, refused }) => retried > 10 && refused > 10,
      (limiter, random, so) => oneReservation(limiter, random, ledgers, so),
    );
    const bound = 60 + 20 + Math.floor(elapsedMs / 10);
    console.log(`seed ${seed}`, JSON.stringify({ seen, bound, ledgers: [...ledgers] }));
    for (const [id, { least }] of ledgers) {
      expect(least, `${id}, DRL_SEED=${seed}`).toBeLessThanOrEqual(bound);
    }
    expect(seen.settled).toBeGreaterThan(30);
    expect(seen.retried).toBeGreaterThan(10);
    expect(seen.refused).toBeGreaterThan(10);
  },
  120_000,
);

test('no key is left when all reservations have expired', async () => {
  await server.command('FLUSHALL');
  const limiter = new RateLimiter({
    redis: server.url,
    timeoutMs: TIMEOUT_MS,
    rate: 100,
    period: '200ms',
  });
  const handles = await Promise.all(
    Array.from({ length: 20 }, () => limiter.reserve('a', { cost: 5, ttl: '100ms' })),
  );
  expect(await server.command('DBSIZE')).toBe(21);
  await handles[0]!.settle(1);
  await waitUntil('all keys to expire', async () => (await server.command('DBSIZE')) === 0);
  await limiter.close();
});
