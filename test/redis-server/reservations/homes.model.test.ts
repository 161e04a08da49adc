import { setTimeout as sleep } from 'node:timers/promises';
import { fixedWindow, RateLimiter, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { Ledger, runClients, settleSurely } from './faulty-clients.ts';
import type { Seen } from './faulty-clients.ts';

/**
 * Organisations whose reservations are always settled; sometimes settled too late; or sometimes never, as after a crash.
 */
const ORGS = ['steady', 'expiring', 'crashing'] as const;
const USERS = ['u0', 'u1', null] as const;
type Unit = 'calls' | 'tokens' | 'micros';
type Part = 'org' | 'user';
type Identity = Readonly<Record<Part, string | null>>;
const UNITS: readonly Unit[] = ['calls', 'tokens', 'micros'];

/** Nothing is refused and no unit recovers, so a limit holds exactly the sum of the charges. */
const LIMITS = [
  { name: 'calls', by: ['org', 'user'], unit: 'calls' },
  { name: 'tokens', by: ['org', 'user'], unit: 'tokens' },
  { name: 'org-tokens', by: ['org'], unit: 'tokens' },
  { name: 'money', by: ['org'], unit: 'micros' },
] as const;

function limits(): readonly Limit<string, Part, Unit>[] {
  const [calls, tokens, ofOrg, money] = LIMITS;
  const many = { rate: 100_000_000, period: '366d' } as const;
  return [
    fixedWindow({ ...calls, ...many }),
    slidingWindow({ ...tokens, ...many }),
    fixedWindow({ ...ofOrg, ...many }),
    tokenBucket({ ...money, rate: 10_000, period: '366d', burst: 80_000 }),
  ];
}

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server.close();
});

/** By limit and the parts of its home. */
const ledgers = new Map<string, Ledger>();

function nameOf({ name, by }: (typeof LIMITS)[number], identity: Identity): string {
  return [name, ...by.map((part) => identity[part])].join(' ');
}

/**
 * Records what each limit of the identity may hold of a unit. A bucket may keep what it should give back: it counts units
 * that were given back to others since as given back on the charge.
 */
function note(identity: Identity, unit: Unit, held: number, ...possible: number[]): void {
  for (const limit of LIMITS) {
    if (limit.unit === unit && limit.by.every((part) => identity[part] !== null)) {
      const name = nameOf(limit, identity);
      const ledger = ledgers.get(name) ?? new Ledger();
      ledgers.set(name, ledger);
      ledger.add(...possible, ...(limit.name === 'money' ? [Math.max(held, ...possible)] : []));
    }
  }
}

type Units = Record<Unit, number>;

let adds = 0;

/** Makes one reservation, adds to it, settles it by name, and records its possible charges. */
async function oneReservation(
  limiter: RateLimiter<Part, Unit>,
  random: Random,
  seen: Seen,
): Promise<void> {
  const org = random.pick(ORGS);
  const identity: Identity = { org, user: random.pick(USERS) };
  const cost: Units = { calls: 1, tokens: random.int(0, 50), micros: random.int(0, 20) };
  const expires = org === 'expiring' && random.chance(30);
  const handle = await limiter.reserve(identity, { cost, ttl: expires ? '60ms' : '1h' });
  seen.degraded += handle.degraded ? 1 : 0;
  expect(handle.allowed).toBe(true); // under `open`, without the store as well
  const least: Units = { ...cost };
  const most: Units = { ...cost };
  for (let i = random.int(0, 2); i > 0; i--) {
    const more = random.int(1, 9);
    const added = await handle.add({ tokens: more });
    adds += 1;
    if (handle.degraded) {
      continue; // not sent: the settlement charges it
    }
    most.tokens += added.allowed ? more : 0;
    least.tokens += added.allowed && !added.degraded ? more : 0;
  }
  await sleep(expires ? 80 : random.int(0, 10));
  const named = UNITS.filter(() => random.chance(60));
  const actual: Partial<Units> = Object.fromEntries(
    named.map((unit) => [unit, random.int(0, unit === 'calls' ? 2 : 90)]),
  );
  const fate = org === 'crashing' ? random.int(1, 4) : 0;
  if (fate === 1 || fate === 2) {
    seen.crashed += 1;
    if (fate === 2) {
      handle.settle(actual).catch(() => undefined);
    }
    for (const unit of UNITS) {
      const settled = fate === 1 ? [] : [actual[unit] ?? most[unit] + 18];
      const mayBe = handle.degraded
        ? [0, cost[unit], ...settled]
        : [least[unit], most[unit], ...settled];
      note(
        identity,
        unit,
        most[unit],
        ...mayBe,
        ...(handle.degraded ? settled.map((each) => each + cost[unit]) : []),
      );
    }
    return;
  }
  const settlement = await settleSurely(handle, actual, random, seen);
  for (const unit of UNITS) {
    if (settlement === undefined) {
      const settled = actual[unit] ?? most[unit] + 18;
      note(
        identity,
        unit,
        most[unit],
        0,
        least[unit],
        most[unit],
        settled,
        handle.degraded ? settled + cost[unit] : settled,
      );
    } else if (settlement.expired) {
      note(identity, unit, most[unit], least[unit], most[unit], ...(handle.degraded ? [0] : []));
    } else {
      const { charged, uncharged } = settlement as {
        charged: Partial<Units>;
        uncharged: Partial<Units>;
      };
      const units = charged[unit] ?? 0;
      if (actual[unit] !== undefined) {
        expect(units + (uncharged[unit] ?? 0)).toBe(charged[unit] === undefined ? 0 : actual[unit]);
      }
      // A reservation that was never confirmed had expired when it was settled, so the settlement may be charged in
      // addition.
      note(
        identity,
        unit,
        most[unit],
        units,
        ...(handle.degraded && expires ? [units + cost[unit]] : []),
      );
    }
  }
  if (settlement !== undefined) {
    seen[settlement.expired ? 'expired' : 'settled'] += 1;
  }
}

const EVERY = ['settled', 'retried', 'degraded', 'expired', 'crashed'] as const;

test('every home holds what its reservations charged it, each add and settlement once, despite lost answers, crashes and expiry', async () => {
  const { seen } = await runClients(
    server,
    limits,
    'open',
    seed,
    (so) => EVERY.every((what) => so[what] > 10),
    oneReservation,
  );
  console.log(`seed ${seed}`, JSON.stringify({ seen, adds, ledgers: [...ledgers] }));
  const observer = new RateLimiter({ redis: server.url, limits: limits(), timeoutMs: 5_000 });
  let homes = 0;
  for (const org of ORGS) {
    for (const user of USERS) {
      const zero = { calls: 0, tokens: 0, micros: 0 };
      const decision = await observer.peek({ org, user }, { cost: zero });
      for (const { name, limit, remaining } of decision.limits) {
        const key = nameOf(
          LIMITS.find((each) => each.name === name)!,
          { org, user },
        );
        const { least, most } = ledgers.get(key)!;
        const used = limit - remaining!;
        expect(used, `${key}, DRL_SEED=${seed}`).toBeGreaterThanOrEqual(least);
        expect(used, `${key}, DRL_SEED=${seed}`).toBeLessThanOrEqual(most);
        homes += 1;
      }
    }
  }
  await observer.close();
  expect(homes).toBe(3 * (2 * 4 + 2));
  // If every settlement was answered, least and most are equal.
  const { certain, open } = ledgers.get('org-tokens steady')!;
  expect(certain).toBeGreaterThan(30);
  expect(open).toBeLessThan(certain / 5);
  expect(adds).toBeGreaterThan(100);
  for (const what of EVERY) {
    expect(seen[what]).toBeGreaterThan(10);
  }
}, 120_000);
