import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Limit, LimitState, Reservation } from 'distributed-rate-limiter';
import { expect, test } from 'vitest';
import { casesOf, check } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

const HISTORIES = casesOf(400);
const START = Date.UTC(2026, 0, 1) * 1_000;
const MS = 1_000;
const MOST = 12;

/** A limit under its name, enforced or as a shadow, on the same key. */
type Kind = (shadow: boolean) => Limit;

interface Step {
  readonly waitUs: number;
  readonly verb: 'try' | 'upTo' | 'penalize' | 'refund' | 'reserve' | 'settle' | 'block' | 'reset';
  readonly units: number;
}

function anyKind(random: Random, name: string): Kind {
  const rate = random.int(1, MOST);
  const period = `${random.pick([1, 7, 1_000, 9_999, 60_000])}ms` as const;
  const maxDebt = random.chance(40) ? random.int(1, MOST) : 0;
  const common = { name, rate, period, maxDebt };
  const burst = random.int(1, MOST);
  return random.pick<Kind>([
    (shadow) => tokenBucket({ ...common, shadow }),
    (shadow) => tokenBucket({ ...common, burst, shadow }),
    (shadow) => slidingWindow({ ...common, shadow }),
    (shadow) => slidingWindowLog({ ...common, shadow }),
    (shadow) => fixedWindow({ ...common, shadow }),
    (shadow) => fixedWindow({ ...common, period: 'day', timeZone: 'Europe/Berlin', shadow }),
  ]);
}

function anyPlaces(random: Random): Kind {
  const [max, ttl] = [random.int(1, 4), `${random.pick([5, 1_000, 60_000])}ms` as const];
  return (shadow) => concurrency({ name: 'places', max, ttl, shadow });
}

/**
 * The calls of one identity. They are replayed to learn what a further call would answer, because a call may charge.
 */
class History {
  readonly lends: boolean;
  readonly kinds: readonly Kind[];
  readonly limits: readonly Limit[];
  readonly steps: readonly Step[];

  constructor(random: Random) {
    this.lends = random.chance(25);
    const rates = random.list(this.lends ? 0 : 1, 3, (i) => anyKind(random, `l${i}`));
    this.kinds = this.lends ? [anyPlaces(random), ...rates] : rates;
    this.limits = this.kinds.map((kind, i) => kind(i > 0 && random.chance(30)));
    const verbs: readonly Step['verb'][] = this.lends
      ? ['try', 'try', 'try', 'try', 'penalize', 'block', 'reset']
      : ['try', 'try', 'try', 'upTo', 'penalize', 'refund', 'reserve', 'settle', 'block', 'reset'];
    this.steps = random.list(1, 10, () => ({
      waitUs: random.chance(50) ? 0 : random.magnitude(1, 20_000_000),
      verb: random.chance(60) ? 'try' : random.pick(verbs),
      units: random.magnitude(1, MOST),
    }));
  }

  /** The state after these calls, and the last answer if there is one. */
  async replay(afterUs = 0): Promise<{ world: World; answer: Decision | undefined }> {
    const world = new World(this.lends);
    const limiter = world.limiter(this.limits);
    let answer: Decision | undefined;
    let [passed, reservation]: [Decision | undefined, Reservation | undefined] = [
      undefined,
      undefined,
    ];
    for (const { waitUs, verb, units } of this.steps) {
      world.micros += waitUs;
      answer = undefined;
      if (verb === 'try') {
        answer = await world.try(limiter, units);
        if (answer.allowed) passed = answer;
      } else if (verb === 'upTo') {
        answer = await limiter.allowUpTo('user', units);
      } else if (verb === 'penalize') {
        answer = await limiter.penalize('user', units);
      } else if (verb === 'refund' && passed !== undefined) {
        answer = await limiter.refund(passed).catch(() => undefined); // it may be charged under shadows alone
        passed = undefined;
      } else if (verb === 'reserve') {
        answer = reservation = await limiter.reserve('user', { cost: units, ttl: '10s' });
      } else if (verb === 'settle') {
        await reservation?.settle(units);
      } else if (verb === 'block') {
        await limiter.block('user', `${units}s`);
      } else if (verb === 'reset') {
        await limiter.reset('user');
      }
    }
    world.micros += afterUs;
    return { world, answer };
  }

  async peek(cost: number, afterUs = 0, limits = this.limits): Promise<Decision> {
    const { world } = await this.replay(afterUs);
    return world.limiter(limits).peek('user', { cost });
  }

  async try(cost: number): Promise<Decision> {
    const { world } = await this.replay();
    return world.try(world.limiter(this.limits), cost);
  }
}

class World {
  micros = START;
  readonly #lends: boolean;
  readonly #store = new MemoryStore({ clock: { nowMicros: () => this.micros } });

  constructor(lends: boolean) {
    this.#lends = lends;
  }

  limiter(limits: readonly Limit[]): RateLimiter {
    return new RateLimiter({ store: this.#store, limits, blocks: true });
  }

  async try(limiter: RateLimiter, cost: number): Promise<Decision> {
    if (!this.#lends) return limiter.allow('user', { cost });
    // Without the handle's methods: only the decision is compared.
    return { ...(await limiter.acquire('user', { cost })) };
  }
}

/** What a limit answers about itself, enforced or not. */
const itself = (state: LimitState): LimitState => ({ ...state, shadow: false });

/** The units left under each limit, whatever the cost of the call. */
const left = ({ limits }: Decision): unknown =>
  limits.map(({ name, remaining, resetAfterMs }) => ({ name, remaining, resetAfterMs }));

async function keepsPromises(history: History, random: Random, counts: Counts): Promise<void> {
  const cost = random.magnitude(1, MOST);
  const { answer } = await history.replay();
  const one = await history.peek(1);
  const look = await history.peek(cost);

  // A peek tells what the call itself then answers; a refusal charges nothing.
  const tried = await history.try(cost);
  expect(tried.reason).toBe(look.reason);
  if (!tried.allowed) expect(tried).toEqual(look);

  // An answer describes the state that the call leaves.
  if (answer !== undefined && answer.limits.length > 0 && answer.reason !== 'impossible') {
    expect(left(answer)).toEqual(left(one));
  }

  if (one.degraded || one.reason === 'impossible') throw new Error('one unit can always pass');

  // Exactly the remaining units pass. A lease takes one place, whatever its cost.
  const { remaining, resetAfterMs, resetAtMs } = one;
  if (Number.isFinite(remaining) && !history.lends) {
    if (remaining > 0) expect((await history.try(remaining)).allowed).toBe(true);
    expect((await history.try(remaining + 1)).allowed).toBe(false);
  } else {
    expect(one.allowed).toBe(remaining > 0);
  }

  // It passes at the told time, and not a millisecond sooner.
  if (look.retryAfterMs !== undefined) {
    counts.waits += 1;
    expect((await history.peek(cost, look.retryAfterMs * MS)).allowed).toBe(true);
    expect((await history.peek(cost, (look.retryAfterMs - 1) * MS)).allowed).toBe(false);
  }

  // The limit is as unused at the told time, and not a millisecond sooner; until then the instant stays the same.
  const enforced = one.limits.filter(({ shadow }) => !shadow);
  if (resetAfterMs > 0) {
    counts.resets += 1;
    const rested = await history.peek(1, resetAfterMs * MS);
    for (const state of rested.limits.filter(({ shadow }) => !shadow)) {
      expect(state).toMatchObject({ remaining: state.limit, resetAfterMs: 0, refused: false });
    }
    expect(await history.peek(1, (resetAfterMs - 1) * MS)).toMatchObject({ resetAfterMs: 1 });
    const between = await history.peek(1, random.int(0, (resetAfterMs - 1) * MS));
    expect(between).toMatchObject({ resetAtMs });
  } else {
    for (const { remaining: units, limit } of enforced) expect(units).toBe(limit);
  }

  // Each limit answers what it would answer alone and enforced.
  for (const [i, kind] of history.kinds.entries()) {
    const alone = await history.peek(cost, 0, [kind(false)]);
    const state = look.limits[i];
    if (state === undefined || look.reason === 'impossible') continue;
    if (alone.reason === 'impossible') {
      expect(state).toMatchObject({ refused: true, shadow: true });
      expect(state).not.toHaveProperty('retryAfterMs');
    } else {
      counts.shadows += state.shadow ? 1 : 0;
      expect(itself(state as LimitState)).toEqual(itself(alone.limits[0] as LimitState));
    }
  }
}

interface Counts {
  waits: number;
  resets: number;
  shadows: number;
}

test('every decision keeps its promises, for random limits and histories', async () => {
  const counts: Counts = { waits: 0, resets: 0, shadows: 0 };
  await check(HISTORIES, async (random) => {
    const history = new History(random);
    random.note('limits', history.limits);
    random.note('steps', history.steps);
    await keepsPromises(history, random, counts);
  });
  expect(counts.waits).toBeGreaterThan(HISTORIES / 10);
  expect(counts.resets).toBeGreaterThan(HISTORIES / 2);
  expect(counts.shadows).toBeGreaterThan(HISTORIES / 20);
});
