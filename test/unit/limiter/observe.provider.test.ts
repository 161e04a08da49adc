import { expect, test } from 'vitest';
import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from 'distributed-rate-limiter';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';

const CASES = casesOf(400);
const START = Date.UTC(2026, 0, 1) * 1_000;
const MS = 1_000;
const WINDOW = 4_000 * MS;
const KINDS = [tokenBucket, fixedWindow, slidingWindow, slidingWindowLog];

interface Call {
  readonly admitted: number;
}

/** One window of the provider. */
interface Served {
  passed: number;
  refused: number;
  /** Calls that arrived in it and were let pass before any process could know that it had begun. */
  onTheirWay: number;
}

/**
 * A provider of so many calls per window, and processes that share a limiter and observe it. Calls and responses take
 * any time up to `latency`, overtake each other, and may be lost with their process.
 */
class World {
  readonly windows = new Map<number, Served>();
  /** Calls under way when the first response of all came. */
  underWayAtFirst: number | undefined;
  /** Of each response what passed in its window after it, beside what it said. */
  readonly words: { readonly window: number; readonly left: number; passed: number }[] = [];
  readonly #random: Random;
  readonly #limiters: readonly RateLimiter[];
  readonly #quota: number;
  readonly #latency: number;
  readonly #saysLength: boolean;
  readonly #phase: number;
  readonly #events: { at: number; run: () => Promise<void> }[] = [];
  readonly #until: number;
  #now: number;
  #underWay = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#phase = random.int(0, WINDOW - 1);
    this.#now = START;
    this.#until = START + 4 * WINDOW;
    this.#quota = random.int(3, 30);
    this.#latency = random.pick([5, 40, 400]) * MS;
    this.#saysLength = random.chance(50);
    const used = random.int(0, this.#quota);
    this.windows.set(this.#windowAt(START), { passed: used, refused: 0, onTheirWay: 0 });
    const store = new MemoryStore({ clock: { nowMicros: () => this.#now } });
    const kind = random.pick(KINDS);
    this.#limiters = random.list(
      1,
      3,
      () =>
        new RateLimiter({ store, limits: [kind({ rate: 10_000, period: '4s' })], observes: true }),
    );
    for (const limiter of this.#limiters) {
      for (let lane = random.int(1, 12); lane > 0; lane--)
        this.#later(0, () => this.#call(limiter));
    }
  }

  async run(): Promise<void> {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#now = Math.max(this.#now, next.at);
      await next.run();
    }
  }

  /** The provider's window at an instant, and its beginning. */
  #windowAt(at: number): number {
    return Math.floor((at - this.#phase) / WINDOW);
  }

  #later(us: number, run: () => Promise<void>): void {
    this.#events.push({ at: this.#now + us, run });
  }

  #next(): { at: number; run: () => Promise<void> } | undefined {
    const at = Math.min(...this.#events.map((event) => event.at));
    const i = this.#events.findIndex((event) => event.at === at);
    return i === -1 ? undefined : this.#events.splice(i, 1)[0];
  }

  async #call(limiter: RateLimiter): Promise<void> {
    if (this.#now >= this.#until) {
      return;
    }
    const decision = await limiter.allow('provider');
    if (!decision.allowed) {
      const waitMs = decision.reason === 'limited' ? decision.retryAfterMs : 1;
      this.#later(waitMs * MS, () => this.#call(limiter));
      return;
    }
    const window = this.#windowAt(this.#now);
    for (const word of this.words) word.passed += word.window === window ? 1 : 0;
    const call = { admitted: this.#now };
    this.#underWay += 1;
    this.#later(this.#random.int(1, this.#latency), () => this.#arrive(limiter, call));
  }

  async #arrive(limiter: RateLimiter, { admitted }: Call): Promise<void> {
    const index = this.#windowAt(this.#now);
    const beginning = index * WINDOW + this.#phase;
    const served = this.windows.get(index) ?? { passed: 0, refused: 0, onTheirWay: 0 };
    this.windows.set(index, served);
    served.onTheirWay += admitted < beginning + this.#latency + MS ? 1 : 0;
    const passes = served.passed < this.#quota;
    served[passes ? 'passed' : 'refused'] += 1;
    const left = this.#quota - served.passed;
    const untilResetMs = Math.ceil((beginning + WINDOW - this.#now) / MS);
    const response = {
      status: passes ? 200 : 429,
      headers: this.#saysLength
        ? {
            'RateLimit-Policy': `"default";q=${this.#quota};w=${WINDOW / 1_000_000}`,
            RateLimit: `"default";r=${left};t=${Math.ceil(untilResetMs / 1_000)}`,
            'X-RateLimit-Reset-After': String(untilResetMs / 1_000),
          }
        : {
            'X-RateLimit-Limit': String(this.#quota),
            'X-RateLimit-Remaining': String(left),
            'X-RateLimit-Reset-After': String(untilResetMs / 1_000),
          },
    };
    this.#later(this.#random.int(1, this.#latency), async () => {
      this.underWayAtFirst ??= this.#underWay;
      this.#underWay -= 1;
      if (this.#random.chance(4)) {
        return; // the process is killed, and its lane with it
      }
      await limiter.observe('provider', response);
      this.words.push({ window: index, left, passed: 0 });
      const pause = this.#random.chance(20) ? this.#random.int(0, WINDOW / 2) : 0;
      this.#later(pause, () => this.#call(limiter));
    });
  }
}

test(
  `a provider refuses no more calls than were on their way when its window began, and no more pass than it says (DRL_SEED=${seed} repeats this run)`,
  { timeout: 300_000 },
  async () => {
    const total = { calls: 0, words: 0, refusedFirst: 0, refusedLater: 0, quiet: 0 };
    await check(CASES, async (random) => {
      const world = new World(random);
      await world.run();
      const [first, ...later] = [...world.windows.entries()]
        .sort(([one], [other]) => one - other)
        .map(([, served]) => served);
      expect(first!.refused).toBeLessThanOrEqual(world.underWayAtFirst ?? Infinity);
      total.refusedFirst += first!.refused;
      for (const { passed, refused, onTheirWay } of later) {
        expect({ refused, onTheirWay, passed }).toMatchObject({
          refused: expect.toSatisfy((count: number) => count <= onTheirWay),
        });
        total.calls += passed;
        total.refusedLater += refused;
        total.quiet += onTheirWay === 0 ? 1 : 0;
      }
      for (const { left, passed } of world.words) expect(passed).toBeLessThanOrEqual(left);
      total.words += world.words.length;
    });
    console.log(total);
    expect(Object.entries(total).filter(([, times]) => times < CASES / 50)).toEqual([]);
  },
);
