import { isDeepStrictEqual } from 'node:util';
import type {
  AnyLimit,
  Decision,
  Lease,
  Limit,
  MemoryStore,
  RateLimiter,
  RateLimiterOptions,
  Reservation,
} from '../../../src/index.ts';
import type { ManualClock } from '../../../src/testing/index.ts';
import type { Random } from '../random.mjs';
import type { Engine } from './engine.ts';

const PERIODS = ['1s', '2s', '3s', '7s'] as const;

interface Common {
  readonly name?: string;
  readonly by?: readonly string[];
  readonly shadow?: boolean;
  /** Windows of one period count together, and those of several apart. */
  readonly periods: readonly (typeof PERIODS)[number][];
}

const numbers = (random: Random, periods: Common['periods']) => ({
  rate: random.int(1, 6),
  period: random.pick(periods),
});
type Make = (engine: Engine, random: Random, common: Common) => AnyLimit;

const KINDS: readonly Make[] = [
  ({ tokenBucket }, random, { periods, ...common }) =>
    tokenBucket({ ...common, ...numbers(random, periods), burst: random.int(1, 5) }),
  ({ tokenBucket }, _, { periods: __, ...common }) =>
    tokenBucket({ ...common, rate: 7, period: '3s', burst: 5, maxDebt: 4 }),
  ({ fixedWindow }, random, { periods, ...common }) =>
    fixedWindow({ ...common, ...numbers(random, periods) }),
  ({ slidingWindow }, random, { periods, ...common }) =>
    slidingWindow({ ...common, ...numbers(random, periods) }),
  ({ slidingWindowLog }, random, { periods, ...common }) =>
    slidingWindowLog({ ...common, ...numbers(random, periods) }),
  ({ fixedWindow }, _, { periods: __, ...common }) =>
    fixedWindow({ ...common, rate: 9, period: 'minute', timeZone: 'Europe/Berlin' }),
];

/** A random set of limits; each has a name, but for the first. */
function limitsOf(
  engine: Engine,
  random: Random,
  by: readonly string[] | undefined,
  periods: Common['periods'],
): AnyLimit[] {
  return Array.from({ length: random.int(1, 3) }, (_, i) =>
    random.pick(KINDS)(engine, random, {
      periods,
      ...(i === 0 ? {} : { name: `limit-${i}` }),
      ...(random.int(0, 4) === 0 ? { shadow: true } : {}),
      ...(by === undefined ? {} : { by: i === 0 ? by : by.slice(0, random.int(0, by.length)) }),
    }),
  );
}

/** How many of its limits' numbers a decision that was repeated tells exactly. */
type Precision = 'all' | 'verdict';

/** What both worlds are made of. */
export interface Setting {
  readonly limiters: readonly RateLimiterOptions<string>[];
  readonly plans: readonly (readonly AnyLimit[])[];
  readonly identities: readonly unknown[];
  readonly hasLeases: boolean;
  readonly precision: Precision;
}

/** Limiters of one store: their limits, plans that calls bring, and identities. */
export function settingOf(engine: Engine, random: Random): Setting {
  const by = random.int(0, 4) === 0 ? ['org', 'user'] : undefined;
  const periods = random.int(0, 2) === 0 ? PERIODS : [random.pick(PERIODS)];
  const hasLeases = by === undefined && random.int(0, 4) === 0;
  const limits = limitsOf(engine, random, by, periods);
  const own = hasLeases
    ? [...limits, engine.concurrency({ name: 'places', max: 2, ttl: '5s' })]
    : limits;
  const options = { namespace: 'same', blocks: random.int(0, 1) === 1 };
  return {
    limiters: [
      { ...options, limits: own },
      { ...options, limits: own },
      { ...options, limits: random.int(0, 1) === 0 ? own : limitsOf(engine, random, by, periods) },
    ] as unknown as RateLimiterOptions<string>[],
    plans: Array.from({ length: 2 }, () => limitsOf(engine, random, by, periods)),
    identities:
      by === undefined
        ? ['a', 'b']
        : [
            { org: 'x', user: 1 },
            { org: 'x', user: 2 },
          ],
    hasLeases,
    precision: by === undefined ? 'all' : 'verdict',
  };
}

/** One store, its limiters and what they have given out. */
export class World {
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  readonly limiters: readonly RateLimiter<string>[];
  readonly charged: Decision[] = [];
  readonly reservations: Reservation<string>[] = [];
  readonly leases: Lease[] = [];

  constructor(
    engine: Engine,
    { limiters }: Setting,
    denyCache: readonly RateLimiterOptions['denyCache'][],
  ) {
    this.clock = new engine.ManualClock();
    this.store = new engine.MemoryStore({ clock: this.clock });
    this.limiters = limiters.map(
      (options, i) =>
        new engine.RateLimiter<string>({
          ...options,
          store: this.store,
          denyCache: denyCache[i] ?? false,
        } as RateLimiterOptions<string>),
    );
  }
}

/** One call, made alike in each world. */
export type Step = (world: World) => unknown;

/** Draws one step: a call of some verb, or a change of the clock. */
export function stepOf(random: Random, setting: Setting): Step {
  const limiter = random.int(0, setting.limiters.length - 1);
  const identity = random.pick(setting.identities) as never;
  const cost = random.int(0, 12) === 0 ? 0 : random.int(1, 4);
  const plan = random.int(0, 4) === 0 ? random.pick(setting.plans) : undefined;
  const limits = plan === undefined ? {} : { limits: plan as readonly Limit<string, string>[] };
  const nth = random.int(0, 1_000);
  const of = (world: World): RateLimiter<string> => world.limiters[limiter]!;
  const keep = async (world: World, made: Promise<Decision>): Promise<Decision> => {
    const decision = await made;
    if (decision.allowed) {
      world.charged.push(decision);
    }
    return decision;
  };
  const lent = setting.hasLeases && plan === undefined;
  const allow: Step = (world) =>
    lent
      ? of(world)
          .acquire(identity, { cost, heartbeat: false })
          .then((lease) => {
            if (lease.allowed) {
              world.leases.push(lease);
            }
            return lease;
          })
      : keep(world, of(world).allow(identity, { cost, ...limits }));
  const from = <T>(list: T[]): T | undefined =>
    list.length === 0 ? undefined : list.splice(nth % list.length, 1)[0];
  const ms = random.pick([0, 1, 7, 40, 150, 400, 900]);
  const backUs = random.int(1, 3) * 700_000;
  const actual = random.int(0, 5);
  const steps: readonly (readonly [weight: number, step: Step])[] = [
    [60, allow],
    [20, ({ clock }) => clock.advance(`${ms}ms`)],
    [1, ({ clock }) => clock.set((clock.nowMicros() - backUs) / 1_000)],
    [4, (world) => (lent ? 0 : keep(world, of(world).allowUpTo(identity, cost, limits)))],
    [
      4,
      (world) =>
        lent
          ? 0
          : of(world)
              .reserve(identity, { cost, ttl: '5s', ...limits })
              .then((reservation) => {
                if (reservation.allowed) {
                  world.reservations.push(reservation as never);
                }
                return reservation;
              }),
    ],
    [2, (world) => world.reservations[nth % (world.reservations.length || 1)]?.add(cost)],
    [2, (world) => from(world.reservations)?.settle(actual)],
    [2, (world) => from(world.reservations)?.cancel()],
    [2, (world) => from(world.leases)?.release()],
    [2, (world) => of(world).peek(identity, { cost, ...limits })],
    [1, (world) => of(world).penalize(identity, cost, limits)],
    [2, (world) => of(world).credit(identity, cost, limits)],
    [2, (world) => refund(world, from(world.charged))],
    [1, (world) => of(world).reset(identity, limits)],
    [1, (world) => of(world).block(identity, '2s')],
    [1, (world) => of(world).unblock(identity)],
  ];
  let left = random.int(
    1,
    steps.reduce((sum, [weight]) => sum + weight, 0),
  );
  return steps.find(([weight]) => (left -= weight) <= 0)![1];
}

function refund(world: World, decision: Decision | undefined): unknown {
  return (
    decision &&
    world.limiters.reduce<Promise<unknown>>(
      (tried, limiter) => tried.catch(() => limiter.refund(decision)),
      Promise.reject(new Error('not tried')),
    )
  );
}

/** What a step came to, without what differs by design or by chance. */
export async function outcomeOf(step: Step, world: World): Promise<Record<string, unknown>> {
  try {
    const result: unknown = await step(world);
    return typeof result === 'object' && result !== null && 'cost' in result
      ? Object.fromEntries(
          Object.entries(result).filter(
            ([name, value]) => typeof value !== 'function' && name !== 'leaseId',
          ),
        )
      : { result };
  } catch (error) {
    return { error: (error as { code?: unknown }).code };
  }
}

/** Whether a world with the cache came to the same; `remembered` if it repeated a refusal. */
export function isSame(
  plain: Record<string, unknown>,
  cached: Record<string, unknown>,
  precision: Precision,
): boolean {
  const { source: asked, ...expected } = plain;
  const { source, ...got } = cached;
  if (source !== 'deny_cache') {
    return asked === source && isDeepStrictEqual(expected, got);
  }
  if (asked !== 'store') {
    return false;
  }
  return precision === 'verdict' || hasOthers(plain)
    ? expected['allowed'] === got['allowed'] &&
        (expected['reason'] === got['reason'] || precision === 'verdict')
    : isDeepStrictEqual(expected, got);
}

/** Whether it tells numbers of a log or of places, which are those of the reply that is repeated. */
function hasOthers({ limits }: Record<string, unknown>): boolean {
  return (limits as readonly { algorithm: string }[]).some(
    ({ algorithm }) => algorithm === 'sliding_window_log' || algorithm === 'concurrency',
  );
}
