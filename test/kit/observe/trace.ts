import assert from 'node:assert/strict';
import type * as Front from '../../../src/index.ts';
import type { AnyLimit } from '../../../src/algorithms/limit.ts';
import type { Decision, LimitState } from '../../../src/base/decision.ts';
import type { RateLimitReport } from '../../../src/reports/parse-rate-limit.ts';
import type { Random } from '../random.mjs';
import { QuotaModel } from './model.ts';
import type { Charged, Word } from './model.ts';

/** The library, from the sources or from a mutant of them. */
export type ObserveEngine = Pick<
  typeof Front,
  | 'RateLimiter'
  | 'MemoryStore'
  | 'tokenBucket'
  | 'fixedWindow'
  | 'slidingWindow'
  | 'slidingWindowLog'
>;

/** Loads the library from a folder that is laid out like `src`. */
export async function loadObserveEngine(folder: string): Promise<ObserveEngine> {
  return (await import(/* @vite-ignore */ `${folder}/index.ts`)) as ObserveEngine;
}

/** How often a trace has seen what it is about. */
export function noObserveSeen() {
  return {
    calls: 0,
    refusedByProvider: 0,
    refusedByLimit: 0,
    shadow: 0,
    granted: 0,
    held: 0,
    late: 0,
    first: 0,
    heard: 0,
    refunds: 0,
    settled: 0,
    added: 0,
    resets: 0,
    blocked: 0,
    plans: 0,
    units: 0,
    severalHomes: 0,
  };
}

const START = Date.UTC(2026, 0, 1) * 1_000;
const MS = 1_000;
const KINDS = ['tokenBucket', 'fixedWindow', 'slidingWindow', 'slidingWindowLog'] as const;
const SHORT_MS = 4_000;

type Limits = readonly Front.Limit<string, string, string>[];
type Identity = Readonly<Record<string, string>> | string;

/** A charge of the models, by the limits' states. */
type Charges = ReadonlyMap<string, Charged>;

interface Expected {
  readonly allowed: boolean;
  /** By limit; empty if the identity is blocked. */
  readonly refused: readonly boolean[];
  /** How long the provider lets the call wait at least. */
  readonly waitsMs: number;
}

interface Refundable {
  readonly real: Decision;
  readonly plain: Decision;
  readonly charges: Charges;
}

interface Reserved {
  readonly real: Front.ReservationHandle;
  readonly plain: Front.ReservationHandle;
  readonly limits: Limits;
  readonly asked: (limit: AnyLimit) => number;
  readonly pieces: Charges[];
}

/**
 * Random calls under limits that observe a provider. The expected decision is that of equal limits without a provider,
 * and of a model of what the provider said.
 */
export class ObserveTrace {
  readonly #random: Random;
  readonly #seen: ReturnType<typeof noObserveSeen>;
  readonly #real: Front.RateLimiter<string, string>;
  readonly #plain: Front.RateLimiter<string, string>;
  readonly #own: Limits;
  readonly #plan: Limits;
  readonly #parts: readonly string[];
  readonly #hasUnits: boolean;
  readonly #models = new Map<string, QuotaModel>();
  readonly #refundable: Refundable[] = [];
  readonly #reserved: Reserved[] = [];
  #now = START;

  constructor(engine: ObserveEngine, random: Random, seen: ReturnType<typeof noObserveSeen>) {
    this.#random = random;
    this.#seen = seen;
    const clock = { nowMicros: () => this.#now };
    this.#parts = random.chance(40) ? ['org', 'user'] : [];
    this.#hasUnits = random.chance(30);
    const limit = (i: number, kind: (typeof KINDS)[number], by: readonly string[]) => {
      const options = {
        name: `limit${i}`,
        ...(this.#parts.length === 0 ? {} : { by }),
        ...(this.#hasUnits ? { unit: ['calls', 'tokens'][i % 2]! } : {}),
        rate: random.pick([1_000, 12, 6]),
        period: random.pick(['1s', '4s', '20s'] as const),
        shadow: i === 2 && random.chance(70), // each unit has a limit that is enforced
      };
      return engine[kind](options);
    };
    const forms = random.list(1, 3, (i) => ({
      kind: random.pick(KINDS),
      by: this.#parts.slice(0, 1 + (i % 2)),
    }));
    this.#own = forms.map(({ kind, by }, i) => limit(i, kind, by));
    this.#plan = forms.map(({ kind, by }, i) => limit(i, kind, by));
    this.#seen.severalHomes += this.#parts.length > 0 && forms.length > 1 ? 1 : 0;
    const make = (observes: boolean) =>
      new engine.RateLimiter<string, string>({
        store: new engine.MemoryStore({ clock }),
        limits: this.#own,
        blocks: true,
        observes,
      });
    this.#real = make(true);
    this.#plain = make(false);
  }

  async turn(): Promise<void> {
    const { pick } = { pick: <T>(choices: readonly T[]): T => this.#random.pick(choices) };
    this.#now += pick([
      0,
      0,
      1,
      0,
      0,
      10 * MS,
      100 * MS,
      500 * MS,
      1_000 * MS,
      SHORT_MS * MS,
      20_000 * MS,
    ]);
    const kind = this.#random.int(0, 99);
    if (kind < 30) await this.#observe();
    else if (kind < 42) await this.#giveBack();
    else if (kind < 52) await this.#settle();
    else if (kind < 54) await this.#forget();
    else if (kind < 60) await this.#upTo();
    else await this.#call(pick(['allow', 'allow', 'peek', 'reserve']));
  }

  #identity(): Identity {
    const value = (): string => this.#random.pick(['a', 'a', 'a', 'b']);
    return this.#parts.length === 0
      ? value()
      : Object.fromEntries(this.#own.flatMap(({ by }) => by!).map((part) => [part, value()]));
  }

  /** Of a limit's state, whatever the limit's numbers. */
  #idOf({ name, by }: AnyLimit, identity: Identity): string {
    const parts =
      typeof identity === 'string' ? identity : by!.map((part) => identity[part]).join();
    return `${name} of ${parts}`;
  }

  #model(limit: AnyLimit, identity: Identity): QuotaModel {
    const id = this.#idOf(limit, identity);
    const model = this.#models.get(id) ?? new QuotaModel();
    this.#models.set(id, model);
    return model;
  }

  #cost(): { cost: number | Record<string, number>; asked: (limit: AnyLimit) => number } {
    const random = this.#random;
    const units = random.pick([1, 2, 1, 0, 5]);
    if (!this.#hasUnits) {
      return { cost: units, asked: () => units };
    }
    this.#seen.units += 1;
    const calls = random.int(0, 2);
    const hasTokens = this.#own.some(({ unit }) => unit === 'tokens');
    const cost = { calls, ...(hasTokens ? { tokens: units } : {}) };
    return { cost, asked: ({ unit }) => (unit === 'tokens' ? units : calls) };
  }

  async #observe(): Promise<void> {
    const random = this.#random;
    const identity = this.#identity();
    const limit = random.pick(this.#own);
    const quota = random.pick([0, 8, 20]);
    const left = random.pick([3, 7, 1, 20, 5, 0]);
    const untilResetMs = random.pick([700, SHORT_MS, 3_500, 9_000, 1]);
    const windowMs = random.pick([undefined, SHORT_MS, 10_000]);
    const retryMs = random.chance(12) ? random.pick([5, 2_000]) : undefined;
    const report = {
      waitMs: retryMs ?? 0,
      ...(retryMs === undefined ? {} : { retryAfterMs: retryMs }),
      limits: [
        {
          name: limit.name,
          unit: limit.unit === 'tokens' ? 'tokens' : 'requests',
          remaining: left,
          ...(quota === 0 ? {} : { quota }),
          effectiveWindowMs: untilResetMs,
          ...(windowMs === undefined ? {} : { windowMs }),
        },
      ],
    } as unknown as RateLimitReport;
    const ofWindow = quota > 0 && !(left === 0 && retryMs !== undefined);
    const word: Word = {
      left,
      lasts: (left === 0 ? (retryMs ?? untilResetMs) : untilResetMs) * MS,
      quota: ofWindow ? quota : 0,
      length: ofWindow ? Math.max(windowMs ?? limit.windowMs ?? 0, untilResetMs) * MS : 0,
    };
    random.note('observe', { identity, limit: limit.name, word, now: this.#now - START });
    // A refusal that does not say which limit it is about holds back all calls.
    const calls = this.#own.filter(({ unit }) => !this.#hasUnits || unit === 'calls');
    const isOfAll = retryMs !== undefined && left > 0;
    const hold: Word = { left: 0, lasts: (retryMs ?? 0) * MS, quota: 0, length: 0 };
    const heard = new Map<AnyLimit, Word>([[limit, word]]);
    for (const each of isOfAll ? (calls.length > 0 ? calls : this.#own) : []) {
      heard.set(each, hold); // less than any other word
    }
    for (const [each, said] of heard) {
      this.#seen[this.#model(each, identity).hear(said, this.#now)] += 1;
    }
    const told = await this.#real.observe(identity, report);
    assert.deepEqual(
      { told: [...told].sort() },
      { told: [...heard.keys()].map(({ name }) => name).sort() },
    );
  }

  async #call(verb: 'allow' | 'peek' | 'reserve'): Promise<void> {
    const identity = this.#identity() as never;
    const limits = this.#random.chance(20) ? this.#plan : this.#own;
    this.#seen.plans += limits === this.#plan ? 1 : 0;
    const { cost, asked } = this.#cost();
    const options = { cost, limits } as never;
    const before = await this.#plain.peek(identity, options);
    const expected = this.#expected(before, limits, identity, asked);
    this.#random.note(verb, { identity, cost, now: this.#now - START, expected });
    this.#seen.calls += 1;
    if (verb === 'reserve') {
      const ttl = { ...(options as object), ttl: '1h' } as never;
      const real = await this.#real.reserve(identity, ttl);
      this.#agree(real, expected);
      if (expected.allowed) {
        const plain = await this.#plain.reserve(identity, ttl);
        const charges = this.#charge(before, limits, identity, asked);
        this.#reserved.push({ real, plain, limits, asked, pieces: [charges] } as never);
      }
      return;
    }
    const real = await this.#real[verb](identity, options);
    this.#agree(real, expected);
    if (verb === 'allow' && expected.allowed) {
      const plain = await this.#plain.allow(identity, options);
      const charges = this.#charge(before, limits, identity, asked);
      this.#refundable.push({ real, plain, charges });
    }
    await this.#agreeOnRest(identity, limits, cost);
  }

  /** Of each limit whether it refuses; of the call whether it passes, and how long the provider lets it wait. */
  #expected(
    plain: Decision,
    limits: Limits,
    identity: Identity,
    asked: (limit: AnyLimit) => number,
  ): Expected {
    if (plain.reason === 'blocked') {
      this.#seen.blocked += 1;
      return { allowed: false, refused: [], waitsMs: 0 };
    }
    let waitsMs = 0;
    const refused = limits.map((limit, i) => {
      const model = this.#model(limit, identity);
      const isSpent = asked(limit) > model.free(this.#now);
      this.#seen.refusedByProvider += isSpent ? 1 : 0;
      this.#seen.shadow += isSpent && limit.shadow ? 1 : 0;
      this.#seen.refusedByLimit += plain.limits[i]!.refused ? 1 : 0;
      if (isSpent && !limit.shadow) {
        waitsMs = Math.max(waitsMs, Math.ceil(model.waits(asked(limit), this.#now) / MS));
      }
      return isSpent || plain.limits[i]!.refused;
    });
    const allowed = refused.every((isRefused, i) => !isRefused || limits[i]!.shadow);
    return { allowed, refused, waitsMs };
  }

  #agree(real: Decision, expected: Expected): void {
    assert.deepEqual({ allowed: real.allowed }, { allowed: expected.allowed });
    if (real.reason === 'blocked') {
      assert.deepEqual({ blocked: expected.refused }, { blocked: [] });
      return;
    }
    const refused = (real.limits as readonly LimitState[]).map((state) => state.refused);
    assert.deepEqual({ refused }, { refused: expected.refused });
    const isLongEnough = (real.retryAfterMs ?? 0) >= expected.waitsMs;
    assert.deepEqual({ isLongEnough }, { isLongEnough: true });
  }

  /** What is left is the lesser of what the limit and what the provider leaves. */
  async #agreeOnRest(identity: Identity, limits: Limits, cost: unknown): Promise<void> {
    const options = { cost, limits } as never;
    const [real, plain] = [
      await this.#real.peek(identity, options),
      await this.#plain.peek(identity, options),
    ];
    if (plain.reason !== 'blocked') {
      const remaining = real.limits.map((state) => state.remaining);
      const least = limits.map((limit, i) =>
        Math.min(plain.limits[i]!.remaining!, this.#model(limit, identity).free(this.#now)),
      );
      assert.deepEqual({ remaining }, { remaining: least });
    }
  }

  /** A limit is charged for what it lets pass itself, a shadow not for what it would refuse. */
  #charge(
    plain: Decision,
    limits: Limits,
    identity: Identity,
    asked: (limit: AnyLimit) => number,
  ): Charges {
    return new Map(
      limits.map((limit) => {
        const model = this.#model(limit, identity);
        const units = asked(limit);
        const charged = units <= model.free(this.#now) ? units : 0;
        return [this.#idOf(limit, identity), model.charge(charged, this.#now)];
      }),
    );
  }

  async #upTo(): Promise<void> {
    const identity = this.#identity() as never;
    const units = this.#random.int(1, 9);
    const names = this.#hasUnits ? [this.#random.pick(this.#own).unit!] : [];
    const mine = this.#own.filter(({ unit }) => !this.#hasUnits || unit === names[0]);
    const wanted = (most: number) => (this.#hasUnits ? { [names[0]!]: most } : most) as never;
    const free = Math.min(
      ...mine
        .filter(({ shadow }) => !shadow)
        .map((limit) => this.#model(limit, identity).free(this.#now)),
      units,
    );
    this.#random.note('allowUpTo', { identity, units, free, now: this.#now - START });
    const before = await this.#plain.peek(identity, { cost: wanted(1) });
    const plain = free > 0 ? await this.#plain.allowUpTo(identity, wanted(free)) : undefined;
    const real = await this.#real.allowUpTo(identity, wanted(units));
    const granted = plain?.granted ?? 0;
    assert.deepEqual({ granted: real.granted }, { granted });
    if (granted > 0) {
      this.#seen.granted += 1;
      const charges = this.#charge(before, mine, identity, () => granted);
      this.#refundable.push({ real, plain: plain!, charges });
    }
  }

  async #giveBack(): Promise<void> {
    const [one] = this.#refundable.splice(-1 - this.#random.int(0, 2), 1);
    if (one !== undefined) {
      this.#random.note('refund', { now: this.#now - START });
      this.#seen.refunds += 1;
      await this.#real.refund(one.real);
      await this.#plain.refund(one.plain);
      for (const [id, charged] of one.charges) {
        this.#models.get(id)!.giveBack(charged, charged.units, this.#now);
      }
    }
  }

  async #settle(): Promise<void> {
    const at = Math.max(0, this.#reserved.length - 1 - this.#random.int(0, 2));
    const one = this.#reserved[at];
    if (one === undefined) {
      return;
    }
    const { cost, asked } = this.#cost();
    const identity = idsOf(one.pieces[0]!);
    if (this.#random.chance(30)) {
      await this.#add(one);
      return;
    }
    this.#reserved.splice(at, 1);
    this.#random.note('settle', { cost, now: this.#now - START });
    this.#seen.settled += 1;
    const [real, plain] = [
      await one.real.settle(cost as never),
      await one.plain.settle(cost as never),
    ];
    assert.deepEqual({ settled: real }, { settled: plain });
    for (const [i, limit] of one.limits.entries()) {
      const id = identity[i]!;
      const pieces = one.pieces.map((piece) => piece.get(id)!);
      this.#settleOne(this.#models.get(id)!, limit, pieces, one, asked(limit));
    }
  }

  #settleOne(
    model: QuotaModel,
    limit: AnyLimit,
    pieces: readonly Charged[],
    { asked }: Reserved,
    actual: number,
  ): void {
    // A shadow that refused the estimate is not part of the reservation.
    if (asked(limit) > 0 && pieces[0]!.units === 0) {
      return;
    }
    const estimate = pieces.reduce((sum, { units }) => sum + units, 0);
    if (actual > estimate) {
      model.charge(actual - estimate, this.#now);
    }
    let left = estimate - actual;
    for (const piece of pieces.toReversed()) {
      const part = Math.min(left, piece.units);
      if (part > 0) {
        model.giveBack(piece, part, this.#now);
        left -= part;
      }
    }
  }

  /** Adds one unit of each kind, where no limit is a shadow, whose part in a reservation is its own matter. */
  async #add({ real, plain, limits, pieces }: Reserved): Promise<void> {
    if (limits.some(({ shadow }) => shadow)) {
      return;
    }
    const ids = idsOf(pieces[0]!);
    const hasTokens = this.#own.some(({ unit }) => unit === 'tokens');
    const cost = (this.#hasUnits ? { calls: 1, ...(hasTokens ? { tokens: 1 } : {}) } : 1) as never;
    const isFree = ids.every((id) => this.#models.get(id)!.free(this.#now) >= 1);
    this.#random.note('add', { isFree, now: this.#now - START });
    if (!isFree) {
      const refused = await real.add(cost);
      assert.deepEqual({ added: refused.allowed }, { added: false });
      return;
    }
    const [mine, theirs] = [await real.add(cost), await plain.add(cost)];
    assert.deepEqual({ added: mine.allowed }, { added: theirs.allowed });
    if (theirs.allowed) {
      this.#seen.added += 1;
      pieces.push(
        new Map(ids.map((id) => [id, this.#models.get(id)!.charge(1, this.#now)] as const)),
      );
    }
  }

  /** `reset`, `block` or `unblock` of one home. */
  async #forget(): Promise<void> {
    const identity = this.#identity();
    const parts =
      typeof identity === 'string'
        ? identity
        : Object.fromEntries(
            this.#random.pick(this.#own).by!.map((part) => [part, identity[part]!]),
          );
    const verb = this.#random.pick(['reset', 'block', 'unblock'] as const);
    this.#random.note(verb, { parts, now: this.#now - START });
    for (const limiter of [this.#real, this.#plain]) {
      await (verb === 'block' ? limiter.block(parts, '2s') : limiter[verb](parts));
    }
    if (verb === 'reset') {
      this.#seen.resets += 1;
      const names = typeof parts === 'string' ? undefined : Object.keys(parts);
      for (const limit of this.#own) {
        if (names === undefined || names.length === limit.by!.length) {
          this.#model(limit, parts).reset();
        }
      }
    }
  }
}

function idsOf(charges: Charges): readonly string[] {
  return [...charges.keys()];
}
