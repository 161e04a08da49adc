import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { concurrency, slidingWindow, tokenBucket } from 'distributed-rate-limiter';
import type { Limit } from 'distributed-rate-limiter';
import { decide } from '../../../src/script/decide.ts';
import type { Table } from '../../../src/script/decide.ts';
import { keysOf } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import type { Saved } from '../../../src/algorithms/limit.ts';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import { decideBatch } from '../../../src/stores/redis.ts';
import type { Call } from '../../../src/stores/store.ts';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { agree, LateAnswers } from '../../kit/fakes/agreement.ts';
import { casesOf, check, seed } from '../../kit/random.mjs';
import type { Random } from '../../kit/random.mjs';
import { Model } from '../../kit/twins/concurrency.model.ts';
import { DECIDE_AND_SHOW, ShownTable } from '../../kit/twins/concurrency.shown.ts';

const STEPS = Number(process.env['DRL_STEPS'] ?? casesOf(120_000));
const START = 1_767_225_600_000_000;
const SECOND = 1_000_000;

/** The same states, evicted when their TTL has passed: decisions must stay equal while the clock goes forward. */
class ExpiringTable implements Table {
  readonly #kept = new Map<string, { value: unknown; until: number }>();
  now = 0;

  read(key: string): unknown {
    const kept = this.#kept.get(key);
    return kept === undefined || kept.until <= this.now ? undefined : kept.value;
  }

  write(key: string, saved: Saved | undefined): void {
    if (saved === undefined) this.#kept.delete(key);
    else this.#kept.set(key, { value: saved.value, until: this.now + saved.ttlMs * 1_000 });
  }
}

const TTLS = ['1ms', '40ms', '2s', '3s'] as const;

function randomSet(random: Random, namespace: string): LimitSet {
  const places = (name?: string, shadow = false): Limit =>
    concurrency({
      max: random.int(1, 4),
      ttl: random.pick(TTLS),
      ...(name === undefined ? {} : { name }),
      shadow,
    });
  const bucket = tokenBucket({ name: 'bucket', rate: random.int(1, 9), period: '700ms' });
  const limits = random.pick<() => readonly Limit[]>([
    () => [places()],
    () => [places()],
    () => [places(), bucket],
    () => [bucket, places(), slidingWindow({ name: 'window', rate: 9, period: '900ms' })],
    () => [places(), places('other')],
    () => [places(undefined, true), bucket],
    () => [places(undefined, true), places('other')],
    () => [places('other', random.chance(30)), bucket, places()],
  ])();
  return new LimitSet(namespace, limits, false);
}

const VERBS: readonly Verb[] = [
  ...Array<Verb>(10).fill('acquire'),
  ...Array<Verb>(3).fill('renew'),
  ...Array<Verb>(4).fill('release'),
  ...Array<Verb>(2).fill('peek'),
  'penalize',
];

const LEASED: ReadonlySet<Verb> = new Set<Verb>(['acquire', 'renew', 'release']);

const counts = {
  steps: 0,
  acquired: 0,
  refused: 0,
  replays: 0,
  renewed: 0,
  notRenewed: 0,
  released: 0,
  notReleased: 0,
  repeatedKeys: 0,
  shifts: 0,
  jitters: 0,
  retriesShown: 0,
  resets: 0,
  beforeExpiry: 0,
};

class Trace {
  readonly #random: Random;
  readonly #name: string;
  readonly #sets: readonly LimitSet[];
  readonly #leases: readonly string[];
  readonly #stepsBack: boolean;
  readonly table = new ShownTable();
  readonly #expiring = new ExpiringTable();
  readonly #model = new Model();
  #now: number;
  #retryAt: number | undefined;
  #ends: readonly number[] = [];

  constructor(random: Random, name: string) {
    this.#random = random;
    this.#name = name;
    this.#sets = Array.from({ length: 3 }, () => randomSet(random, name));
    this.#leases = Array.from({ length: random.int(3, 9) }, (_, i) => `lease-${i}`);
    this.#stepsBack = random.chance(60);
    this.#now = START + random.int(0, 60 * SECOND);
  }

  entries(): Entry[] {
    const random = this.#random;
    this.#advance();
    return Array.from({ length: random.magnitude(1, 40) }, () => {
      const set = random.pick(this.#sets);
      const verb: Verb = random.chance(1) ? 'reset' : random.pick(VERBS);
      const shape = set.shape(verb, Math.min(random.int(1, 3), set.maxCost));
      const details = LEASED.has(verb) ? [random.pick(this.#leases)] : undefined;
      return { key: `${this.#name}:${random.int(0, 1)}`, shape, details };
    });
  }

  get now(): number {
    return this.#now;
  }

  #advance(): void {
    const random = this.#random;
    const before = this.#now;
    const kind = random.int(1, 100);
    if (kind <= 25 && this.#ends.length > 0) {
      // The instant at which a lease ends, and 1 µs before it.
      const at = random.pick(this.#ends) - random.int(0, 1);
      if (at >= this.#now) this.#now = at;
    } else if (kind <= 40 && this.#retryAt !== undefined) {
      this.#now = Math.max(this.#now, this.#retryAt);
    } else if (kind <= 55 && this.#stepsBack) {
      this.#now -= random.pick([
        random.int(1, SECOND),
        SECOND,
        SECOND + 1,
        random.int(1, 5) * SECOND,
      ]);
      counts.jitters += before - this.#now <= SECOND ? 1 : 0;
    } else {
      this.#now += random.magnitude(1, 4 * SECOND);
    }
    this.#retryAt = undefined;
  }

  /** Decides one script call in TypeScript, and checks the answer against the model. */
  decide(entries: readonly Entry[]): (number | string)[] {
    const now = this.#now;
    this.table.forgetTtls();
    const reply = decide(entries, now, this.table);
    this.#expiring.now = now;
    const expiring = decide(entries, now, this.#expiring);
    if (!this.#stepsBack) {
      counts.beforeExpiry += 1;
      agree(`${this.#name}: expiry changed a decision`, expiring, reply);
    }
    const seen = new Set<string>();
    let at = 1;
    for (const entry of entries) {
      const answer = reply.slice(at, at + entry.shape.width) as number[];
      at += entry.shape.width;
      this.#check(entry, answer);
      const key = entry.key;
      counts.repeatedKeys += seen.has(key) ? 1 : 0;
      seen.add(key);
    }
    this.#ends = this.#model.ends(now);
    return reply;
  }

  #check(entry: Entry, answer: readonly number[]): void {
    const { verb } = entry.shape;
    counts.steps += 1;
    const shifts = this.#model.shifts;
    const { expected, replay, passes } = this.#model.step(entry, answer, this.#now);
    counts.shifts += this.#model.shifts - shifts;
    agree(`${this.#name} at ${this.#now}: ${verb} against the model`, answer, expected);
    counts.resets += verb === 'reset' ? 1 : 0;
    if (verb === 'renew') counts[answer[0] === 1 ? 'renewed' : 'notRenewed'] += 1;
    if (verb === 'release') counts[answer[0] === 1 ? 'released' : 'notReleased'] += 1;
    if (verb !== 'acquire') return;
    counts.replays += replay ? 1 : 0;
    counts[passes ? 'acquired' : 'refused'] += 1;
    if (passes) return;
    this.#retryAt = this.#now + waitOf(entry, answer);
    if (this.#random.chance(5)) {
      this.#showRetry(entry);
    }
  }

  /**
   * Calls again 1 µs before the told time, which must be refused, and at that time, which must pass. From the present
   * states.
   */
  #showRetry({ key, shape }: Entry): void {
    const entry = { key, shape, details: ['a lease of its own'] };
    const copy = new ShownTable();
    for (const each of keysOf({ key, shape })) {
      const value = this.table.stored.get(each);
      if (value !== undefined) copy.stored.set(each, value);
    }
    const wait = waitOf(entry, decide([entry], this.#now, copy).slice(1) as number[]);
    if (wait === 0) return; // A later call of the same turn freed a place.
    const [before, then] = [wait - 1, wait].map((after) =>
      waitOf(entry, decide([entry], this.#now + after, copy).slice(1) as number[]),
    );
    counts.retriesShown += 1;
    agree(`${this.#name} at ${this.#now}: retry`, [before, then], [1, 0]);
  }
}

function waitOf({ shape }: Entry, answer: readonly number[]): number {
  let at = shape.head;
  return Math.max(
    ...shape.rules.map(({ limit, plan }) => {
      const { refused, retryUs } = limit.twin.read(plan, answer, at);
      at += plan.width;
      return refused && !limit.shadow ? retryUs : 0;
    }),
  );
}

describe(`concurrency: TypeScript, Lua and a model (DRL_SEED=${seed} repeats this run)`, () => {
  let redis: RedisServer;
  let connection: Awaited<ReturnType<typeof openResp>>;

  beforeAll(async () => {
    redis = await startRedis();
    connection = await openResp({ path: redis.socketPath, timeoutMs: 60_000 });
  });
  afterAll(async () => {
    connection?.close();
    await redis?.close();
  });

  test(
    `TypeScript, Lua and the model agree on ${STEPS} random steps`,
    { timeout: 60_000 + STEPS },
    async () => {
      const sha1 = await connection.command('SCRIPT', 'LOAD', DECIDE_AND_SHOW);
      const run = {
        until: () => counts.steps >= STEPS,
        before: () => connection.command('FLUSHALL'),
      };
      await check(run, async (random, at) => {
        const trace = new Trace(random, `s${at}`);
        const answers = new LateAnswers();
        for (const turn of random.steps(40)) {
          const entries = trace.entries();
          for (let from = 0; from < entries.length;) {
            const { keys, args, taken } = decideBatch.encode(
              entries as readonly unknown[] as readonly Call[],
              from,
            );
            const reply = trace.decide(entries.slice(from, from + taken));
            from += taken;
            const shown = keys.map((key) => trace.table.show(key));
            const where = `turn ${turn}, at ${trace.now}`;
            const answer = connection.command(
              'EVALSHA',
              sha1,
              keys.length,
              ...keys,
              ...args,
              trace.now,
            );
            answers.add(answer, ([out, held]) => {
              agree(`reply of Lua, ${where}`, out, reply);
              agree(`states of Lua, ${where}`, held, shown);
            });
          }
        }
        await answers.all();
      });
      console.log(`DRL_SEED=${seed}`, counts);
      // A trace that reaches none of these cases would prove nothing about them.
      const rare = Object.entries(counts).filter(([, count]) => count <= STEPS / 2_000);
      expect(rare).toEqual([]);
    },
  );
});
