import {
  fixedWindow,
  RateLimiter,
  slidingWindow,
  StoreError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Limit, Reservation, Settlement } from 'distributed-rate-limiter';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';
import { Random, seed } from '../../kit/random.mjs';

/**
 * Identities whose reservations are always settled; sometimes settled too late; or sometimes never, as after a crash.
 */
const IDS = ['steady', 'expiring', 'crashing'] as const;
const TIMEOUT_MS = 300;
/** Within this time after the first try a settlement's result can still be fetched. */
const ANSWERABLE_MS = 9 * TIMEOUT_MS;

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server.close();
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What a limit may hold for the reservations of one identity: for each, one of several possible charges. */
class Ledger {
  least = 0;
  most = 0;
  certain = 0;
  open = 0;

  add(...possible: number[]): void {
    this.least += Math.min(...possible);
    this.most += Math.max(...possible);
    this.certain += possible.length === 1 ? 1 : 0;
    this.open += possible.length === 1 ? 0 : 1;
  }
}

interface Seen {
  settled: number;
  retried: number;
  degraded: number;
  expired: number;
  crashed: number;
  refused: number;
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
  const settlement = await settle(handle, actual, random, seen);
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

/** Settles until there is an answer, or until no reliable answer can come; sometimes with another number. */
async function settle(
  handle: Reservation,
  actual: number,
  random: Random,
  seen: Seen,
): Promise<Settlement | undefined> {
  const until = performance.now() + ANSWERABLE_MS;
  while (performance.now() < until) {
    try {
      return await handle.settle(actual);
    } catch (error) {
      expect(error).toBeInstanceOf(StoreError);
      seen.retried += 1;
      await sleep(random.int(1, 30));
    }
  }
  return undefined;
}

/** Injects faults: lost answers, ended connections, delays. */
async function trouble(proxy: FaultProxy, random: Random): Promise<void> {
  const kind = random.int(1, 6);
  if (kind <= 3) {
    await proxy.dropReplies({ cut: true, times: random.int(1, 2) });
  } else if (kind === 4) {
    await proxy.cut({ reset: random.chance(50) });
  } else if (kind === 5) {
    await proxy.delay(random.int(0, TIMEOUT_MS / 2), random.int(0, 2 * TIMEOUT_MS));
  } else {
    await proxy.reply('-BUSY Redis is busy running a script.', { times: 1 });
  }
  await sleep(random.int(20, 200));
  await proxy.pass();
  await sleep(random.int(50, 300));
}

/** Makes many reservations at once by several clients, each with faults on its own connection. */
async function runClients(
  limits: () => readonly Limit[],
  failStrategy: 'open' | 'closed',
  firstSeed: number,
  enough: (seen: Seen) => boolean,
): Promise<{ ledgers: ReadonlyMap<string, Ledger>; seen: Seen; elapsedMs: number }> {
  await server.command('FLUSHALL');
  const ledgers = new Map(IDS.map((id) => [id as string, new Ledger()]));
  const seen: Seen = { settled: 0, retried: 0, degraded: 0, expired: 0, crashed: 0, refused: 0 };
  const start = performance.now();
  const goesOn = (): boolean =>
    performance.now() < start + 4_000 ||
    // A busy machine needs longer for as many cases.
    (performance.now() < start + 60_000 && !(seen.settled >= 200 && enough(seen)));
  await Promise.all(
    [1, 2, 3].map(async (client) => {
      const random = new Random(firstSeed + client);
      const proxy = await startFaultProxy(server);
      const limiter = new RateLimiter({
        redis: proxy.url,
        limits: limits(),
        timeoutMs: TIMEOUT_MS,
        failStrategy,
      });
      const callers = Array.from({ length: 6 }, async () => {
        while (goesOn()) {
          await oneReservation(limiter, random, ledgers, seen);
        }
      });
      while (goesOn()) {
        await trouble(proxy, random);
        expect(await server.keysWithoutTtl()).toEqual([]);
      }
      await Promise.all(callers);
      await limiter.close();
      await proxy.close();
    }),
  );
  const elapsedMs = performance.now() - start;
  // Pending calls arrive, and late answers cause their cancellations.
  await sleep(4 * TIMEOUT_MS);
  expect(await server.keysWithoutTtl()).toEqual([]);
  return { ledgers, seen, elapsedMs };
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
  const { ledgers, seen } = await runClients(limits, 'open', seed, (so) =>
    EVERY.every((what) => so[what] > 10),
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
    const { ledgers, seen, elapsedMs } = await runClients(
      limits,
      failStrategy,
      seed,
      ({ retried, refused }) => retried > 10 && refused > 10,
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
