import { RateLimiter, StoreError } from 'distributed-rate-limiter';
import type { Limit, ReservationHandle, Settlement } from 'distributed-rate-limiter';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { startFaultProxy } from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';
import { Random } from '../../kit/random.mjs';

/** Clients that make reservations while their connections fail. */

export const TIMEOUT_MS = 300;
/** Within this time after the first try a settlement's result can still be fetched. */
const ANSWERABLE_MS = 9 * TIMEOUT_MS;

/** What a limit may hold for the reservations of one identity: for each, one of several possible charges. */
export class Ledger {
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

export interface Seen {
  settled: number;
  retried: number;
  degraded: number;
  expired: number;
  crashed: number;
  refused: number;
}

/** Settles until there is an answer, or until no reliable answer can come; sometimes with another number. */
export async function settleSurely<Unit extends string>(
  handle: ReservationHandle<Unit>,
  actual: Parameters<ReservationHandle<Unit>['settle']>[0],
  random: Random,
  seen: Seen,
): Promise<Settlement<Unit> | undefined> {
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
export async function runClients<Part extends string, Unit extends string>(
  server: RedisServer,
  limits: () => readonly Limit<string, Part, Unit>[],
  failStrategy: 'open' | 'closed',
  firstSeed: number,
  enough: (seen: Seen) => boolean,
  oneReservation: (limiter: RateLimiter<Part, Unit>, random: Random, seen: Seen) => Promise<void>,
): Promise<{ seen: Seen; elapsedMs: number }> {
  await server.command('FLUSHALL');
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
      const limiter = new RateLimiter<Part, Unit>({
        redis: proxy.url,
        limits: limits(),
        timeoutMs: TIMEOUT_MS,
        failStrategy,
      });
      const callers = Array.from({ length: 6 }, async () => {
        while (goesOn()) {
          await oneReservation(limiter, random, seen);
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
  return { seen, elapsedMs };
}
