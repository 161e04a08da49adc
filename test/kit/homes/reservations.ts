import type {
  Decision,
  Limit,
  RateLimiter,
  ReservationHandle,
  Settlement,
} from '../../../src/index.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import type { Call } from '../../../src/stores/store.ts';
import { agree } from '../fakes/agreement.ts';
import type { Random } from '../random.mjs';
import type { HomesEngine } from './engine.ts';
import { keyOf } from './words.ts';
import type { Parts, Units } from './words.ts';

/**
 * Reservations over several homes and units, whose answers are lost, whose calls are resent or never arrive, which
 * processes with other limits resume, and whose processes die between steps: compared after every step with a model that only adds and subtracts whole units.
 */

/** What the run has seen. */
export function noSeen() {
  return {
    steps: 0,
    reserved: 0,
    refused: 0,
    added: 0,
    settled: 0,
    uncharged: 0,
    partly: 0,
    cancelled: 0,
    retried: 0,
    lost: 0,
    resent: 0,
    never: 0,
    expired: 0,
    died: 0,
    unreserved: 0,
    severalHomes: 0,
    resumed: 0,
    resumedSettled: 0,
    resumedAdded: 0,
    recalledSettled: 0,
    recalledGone: 0,
  };
}
export type Seen = ReturnType<typeof noSeen>;

interface Numbers {
  readonly name: string;
  readonly algorithm: 'tokenBucket' | 'fixedWindow' | 'slidingWindow';
  readonly by: readonly string[];
  readonly unit: string | undefined;
  readonly capacity: number;
  readonly maxDebt: number;
  readonly shadow: boolean;
}

const YEAR_S = 366 * 86_400;
const LETTERS = { tokenBucket: 't', fixedWindow: 'f', slidingWindow: 's' } as const;
/** In the midst of windows of a year, so that none ends during a course. */
const START = 56.5 * YEAR_S * 1_000_000;
/** So long the result of a settlement is kept at least, ten default deadlines; twice as long if nothing was reserved. */
const KEPT_US = 10 * 250 * 1_000;

type Fate = 'answered' | 'lost' | 'lost, and late' | 'resent' | 'never';

/** One execution of the script. */
interface Executed {
  readonly verb: string;
  readonly at: number;
}

/** What a reservation holds under one limit. */
interface Held {
  readonly limit: Numbers;
  readonly state: string;
  units: number;
  /** Whether the limit let the estimate pass: a shadow may not. */
  readonly charged: boolean;
}

/** A reservation as the model knows it. */
interface Modelled {
  held: Held[] | undefined;
  ends: number;
  settled: { charged: Units; uncharged: Units } | undefined;
}

/** A reservation as its process knows it. */
interface Open {
  readonly parts: Parts;
  readonly consulted: readonly Numbers[];
  readonly model: Modelled;
  readonly handle: ReservationHandle<string>;
  /** Whether it is the handle of a process that resumed the reservation. */
  readonly isResumed: boolean;
  /** Of a reservation that was made without the store: its units, and when it was first settled. */
  degraded: Record<string, number> | undefined;
  triedAt: number | undefined;
  tried: boolean;
}

/** A charge that may be refunded: what it took of which state. */
interface Charge {
  readonly decision: Decision;
  readonly taken: readonly (readonly [state: string, units: number])[];
}

function unitOf({ unit }: Numbers): string {
  return unit ?? 'calls';
}

export class ReservationsTrace {
  /** All calls that were executed, in order. */
  readonly sent: { readonly entry: Entry; readonly now: number }[] = [];
  readonly #engine: HomesEngine;
  readonly #random: Random;
  readonly #seen: Seen;
  readonly #numbers: readonly Numbers[];
  readonly #namespace: string;
  readonly #limiter: RateLimiter<string, string>;
  /** Of a process that has other limits, and resumes. */
  readonly #other: RateLimiter<string, string>;
  readonly #values = new Map<string, { value: unknown; endsAt: number }>();
  readonly #states = new Map<string, string>();
  readonly #used = new Map<string, number>();
  /**
   * Units given back to buckets in this step. A bucket may keep some of them: it gives back no more than the charge holds
   * back, less what was given back since.
   */
  readonly #slack = new Map<string, number>();
  readonly #open: Open[] = [];
  readonly #charges: Charge[] = [];
  readonly #hasUnits: boolean;
  readonly #failStrategy: 'open' | 'closed' | 'throw';
  #fate: Fate = 'answered';
  #executed: Executed[] = [];
  /** Delivers an answer for which nobody waits any more. */
  #late: (() => void) | undefined;
  #now = START;

  constructor(engine: HomesEngine, random: Random, namespace: string, seen: Seen) {
    this.#engine = engine;
    this.#random = random;
    this.#seen = seen;
    this.#namespace = namespace;
    const homes = [['org', 'user'], ['org'], ['ip', 'org']];
    this.#hasUnits = random.chance(80);
    this.#numbers = random.list(2, 5, (i) => ({
      name: 'abcde'[i]!,
      algorithm: random.pick(['fixedWindow', 'tokenBucket', 'slidingWindow'] as const),
      by: random.pick(homes),
      unit: this.#hasUnits ? random.pick(['tokens', 'micros', undefined]) : undefined,
      capacity: random.pick([100, 20, 10, 1_000]),
      maxDebt: random.chance(40) ? random.int(1, 5) : 0,
      shadow: random.chance(15),
    }));
    this.#hasUnits = this.#numbers.some(({ unit }) => unit !== undefined);
    this.#failStrategy = random.pick(['open', 'closed', 'throw']);
    const store = this.#store();
    this.#limiter = this.#limiterOn(store);
    this.#other = new this.#engine.RateLimiter({
      store,
      namespace: this.#namespace,
      rate: 1,
      period: 1,
      failStrategy: this.#failStrategy,
      onError: () => {},
    } as never) as never;
  }

  #limiterOn(store: object): RateLimiter<string, string> {
    const limits = this.#numbers.map(
      ({ name, algorithm, by, unit, capacity, maxDebt, shadow }): Limit<string, string, string> =>
        this.#engine[algorithm]({
          name,
          by,
          ...(unit === undefined ? {} : { unit }),
          rate: capacity,
          period: YEAR_S,
          maxDebt,
          shadow,
        }),
    );
    return new this.#engine.RateLimiter({
      store,
      namespace: this.#namespace,
      limits,
      failStrategy: this.#failStrategy,
      onError: () => {},
    } as never) as never;
  }

  /** A store that decides as any does, and loses calls and answers as this test says. */
  #store(): object {
    const { MemoryStore } = this.#engine;
    const submit = (call: Call): void => this.#submit(call);
    class LossyStore extends MemoryStore {
      override submit(call: Call): void {
        submit(call);
      }
    }
    return new LossyStore({ clock: { nowMicros: () => this.#now } });
  }

  #submit(call: Call): void {
    const fate = this.#fate;
    if (fate === 'never') {
      call.fail(new this.#engine.StoreError('store_away', 'never sent'));
      return;
    }
    const reply = this.#execute(call);
    if (fate === 'resent') {
      const again = this.#execute(call);
      const told = (answer: readonly number[]): unknown => answer.slice(0, 1 + call.shape.width);
      // What a shadow said of an `add` is not kept.
      if (call.shape.verb !== 'add' || this.#numbers.every(({ shadow }) => !shadow)) {
        agree('a resent call', told(again), told(reply));
      }
    }
    if (fate === 'answered' || fate === 'resent') {
      call.settle(reply, 1);
    } else {
      call.fail(new this.#engine.StoreError('store_timeout', 'the answer is lost'));
      if (fate === 'lost, and late') {
        this.#late = () => call.late?.(reply, 1);
      }
    }
  }

  #execute(call: Call): number[] {
    this.#executed.push({ verb: call.shape.verb, at: this.#now });
    const { homes, shape, record, details } = call;
    const entry = { key: call.key, homes, shape, record, details };
    this.sent.push({ entry, now: this.#now });
    const reply = this.#engine.decide([call], this.#now, {
      read: (key) => {
        const kept = this.#values.get(key);
        return kept === undefined || kept.endsAt <= this.#now ? undefined : kept.value;
      },
      write: (key, saved) => {
        if (saved === undefined) this.#values.delete(key);
        else {
          const endsAt = this.#now + saved.ttlMs * 1_000;
          this.#values.set(key, { value: saved.value, endsAt });
        }
      },
    });
    agree(
      'failures',
      reply.slice(0, 1 + shape.width).filter((each) => typeof each === 'string'),
      [],
    );
    return reply as number[];
  }

  /** One step, and the comparison of all that is held. */
  async step(): Promise<void> {
    const random = this.#random;
    this.#seen.steps += 1;
    this.#now += random.pick([0, 1_000, 2_000_000, 20_000_000]);
    const kind = random.int(0, 99);
    if (kind < 28 || (this.#open.length === 0 && kind < 80)) {
      await this.#reserve();
    } else if (kind < 38) {
      this.#resume(random.pick(this.#open));
    } else if (kind < 53) {
      await this.#add(random.pick(this.#open));
    } else if (kind < 77) {
      await this.#settle(random.pick(this.#open));
    } else if (kind < 80) {
      // Its process dies: nothing will ever settle it.
      this.#open.splice(random.int(0, this.#open.length - 1), 1);
      this.#seen.died += 1;
    } else if (kind < 93 || this.#charges.length === 0) {
      await this.#allow();
    } else {
      await this.#refund();
    }
    this.#compare();
  }

  async #do<T>(fates: readonly Fate[], call: () => Promise<T>): Promise<T | Error> {
    this.#executed = [];
    this.#fate = this.#random.pick(fates);
    const answer = await call().catch((error: unknown) => error as Error);
    const fate = this.#fate;
    if (this.#late !== undefined) {
      // What the process sends then has a fate of its own.
      this.#fate = this.#random.pick(['answered', 'lost', 'never'] as const);
      this.#late();
      this.#late = undefined;
      await Promise.resolve();
    }
    this.#fate = fate;
    if (this.#fate === 'lost' || this.#fate === 'lost, and late') this.#seen.lost += 1;
    if (this.#fate === 'resent') this.#seen.resent += 1;
    if (this.#fate === 'never') this.#seen.never += 1;
    if (answer instanceof Error && !(answer instanceof this.#engine.StoreError)) {
      throw answer;
    }
    return answer;
  }

  #parts(): Parts {
    const parts = new Set(this.#numbers.flatMap(({ by }) => by));
    return Object.fromEntries(
      [...parts].map((part) => [
        part,
        part !== 'org' && this.#random.chance(15)
          ? null
          : this.#random.pick([`${part}0`, `${part}1`]),
      ]),
    );
  }

  #consulted(parts: Parts): readonly Numbers[] {
    return this.#numbers.filter(({ by }) => by.every((part) => parts[part] !== null));
  }

  #stateOf({ name, algorithm, by }: Numbers, parts: Parts): string {
    const values = JSON.stringify([name, ...by.map((part) => parts[part])]);
    let state = this.#states.get(values);
    if (state === undefined) {
      const spoken = { namespace: this.#namespace, own: this.#numbers as never, blocks: false };
      state = `${keyOf(spoken, by, parts)} ${name}=${LETTERS[algorithm]}`;
      this.#states.set(values, state);
    }
    return state;
  }

  /** Units by name, of those that these limits count; undefined if no enforced limit would be asked. */
  #cost(
    limits: readonly Numbers[],
    most: number,
    calls: 0 | 1,
  ): Record<string, number> | undefined {
    const random = this.#random;
    const units = [...new Set(limits.map(unitOf))];
    const cost: Record<string, number> = {};
    for (const unit of units) {
      if (!this.#hasUnits || random.chance(70)) {
        cost[unit] = random.int(0, most);
      }
    }
    const asks = (of: readonly Numbers[]): boolean => {
      const enforced = of.filter(({ shadow }) => !shadow);
      return (enforced.length > 0 ? enforced : of).some(
        (limit) => cost[unitOf(limit)] !== undefined || (calls === 1 && unitOf(limit) === 'calls'),
      );
    };
    return asks(limits) && (calls === 0 || asks(this.#numbers)) ? cost : undefined;
  }

  /** As the limiter takes it: a number where no limit has a unit. */
  #given(cost: Record<string, number>): never {
    return (this.#hasUnits ? cost : cost['calls']) as never;
  }

  #isImpossible(limits: readonly Numbers[], cost: Units): boolean {
    return limits.some((limit) => !limit.shadow && (cost[unitOf(limit)] ?? 0) > limit.capacity);
  }

  /** Whether each limit lets the units pass; one that is not asked does. */
  #judge(held: readonly { limit: Numbers; state: string }[], cost: Units): boolean[] {
    return held.map(({ limit, state }) => {
      const units = cost[unitOf(limit)];
      return units === undefined || (this.#used.get(state) ?? 0) + units <= limit.capacity;
    });
  }

  #passes(limits: readonly Numbers[], fits: readonly boolean[]): boolean {
    return limits.every((limit, i) => fits[i]! || limit.shadow);
  }

  #take(state: string, units: number): void {
    if (units < 0 && state.endsWith('=t')) {
      this.#slack.set(state, (this.#slack.get(state) ?? 0) - units);
    }
    this.#used.set(state, (this.#used.get(state) ?? 0) + units);
  }

  async #reserve(): Promise<void> {
    const random = this.#random;
    const parts = this.#parts();
    const consulted = this.#consulted(parts);
    const cost = this.#cost(consulted, 9, 1);
    if (cost === undefined) {
      return;
    }
    const asked = {
      ...(consulted.some((limit) => unitOf(limit) === 'calls') ? { calls: 1 } : {}),
      ...cost,
    };
    const ttlS = random.pick([3_600, 30, 5]);
    const model: Modelled = { held: undefined, ends: 0, settled: undefined };
    const answer = await this.#do(
      ['answered', 'answered', 'answered', 'lost', 'lost, and late', 'resent', 'never'],
      () => this.#limiter.reserve(parts, { cost: this.#given(cost), ttl: `${ttlS}s` }),
    );
    random.note('reserve', { parts, cost, ttlS, fate: this.#fate });
    this.#seen.severalHomes += new Set(consulted.map(({ by }) => by.join())).size > 1 ? 1 : 0;
    if (this.#isImpossible(consulted, asked)) {
      agree('executed', this.#executed, []);
      return;
    }
    for (const { verb, at } of this.#executed) {
      if (verb === 'settle') {
        this.#applySettle(model, {}, true, false, at, consulted, parts);
        this.#seen.cancelled += 1;
      } else {
        this.#applyReserve(model, consulted, parts, asked, at, ttlS);
      }
    }
    if (answer instanceof Error || !answer.allowed) {
      this.#seen.refused += 1;
      if (!(answer instanceof Error) && !answer.degraded) {
        agree('held after a refusal', model.held, undefined);
      }
      return;
    }
    this.#seen.reserved += 1;
    if (!answer.degraded) {
      agree('held after a pass', model.held !== undefined, true);
    }
    this.#open.push({
      parts,
      consulted,
      model,
      handle: answer,
      isResumed: false,
      degraded: answer.degraded ? { ...asked } : undefined,
      triedAt: undefined,
      tried: false,
    });
    if (this.#open.length > 6) {
      this.#open.shift();
    }
  }

  #applyReserve(
    model: Modelled,
    consulted: readonly Numbers[],
    parts: Parts,
    asked: Units,
    at: number,
    ttlS: number,
  ): void {
    if (model.ends > at) {
      return; // resent
    }
    const rules = consulted.map((limit) => ({ limit, state: this.#stateOf(limit, parts) }));
    const fits = this.#judge(rules, asked);
    if (!this.#passes(consulted, fits)) {
      return;
    }
    model.held = rules.map(({ limit, state }, i) => {
      const units = asked[unitOf(limit)] ?? 0;
      if (fits[i]!) {
        this.#take(state, units);
      }
      return { limit, state, units, charged: fits[i]! };
    });
    model.ends = at + ttlS * 1_000_000;
  }

  /** Another process gets the token. */
  #resume(open: Open): void {
    this.#random.note('resume', {});
    this.#seen.resumed += 1;
    this.#open.push({
      ...open,
      handle: this.#other.resume(open.handle.token),
      isResumed: true,
      degraded: undefined,
      triedAt: undefined,
      tried: false,
    });
  }

  /** What was sent beside the question of a resumed handle for the record. */
  #changing(): readonly Executed[] {
    return this.#executed.filter(({ verb }) => verb !== 'recall');
  }

  async #add(open: Open): Promise<void> {
    const cost = this.#cost(open.consulted, 4, 0);
    if (cost === undefined) {
      return;
    }
    const answer = await this.#do(['answered', 'answered', 'lost', 'resent', 'never'], () =>
      open.handle.add(this.#given(cost)),
    );
    this.#random.note('add', { cost, fate: this.#fate });
    const { model } = open;
    if (open.degraded !== undefined && !open.tried) {
      agree('sent of a reservation without the store', this.#executed, []);
      for (const [unit, units] of Object.entries(cost)) {
        open.degraded[unit] = (open.degraded[unit] ?? 0) + units;
      }
      return;
    }
    let passed: boolean | undefined;
    const changing = this.#changing();
    if (changing.length === 0 && this.#executed.length > 0) {
      if (!(answer instanceof Error) && answer.reason !== 'store_timeout') {
        agree('an add without a record', answer.reason, 'not_held');
        agree('held', model.ends > this.#now && model.settled === undefined, false);
      }
      return;
    }
    for (const [i, { at }] of changing.entries()) {
      if (i > 0) {
        continue; // resent: charged once
      }
      if (model.held === undefined || model.ends <= at || model.settled !== undefined) {
        passed = false;
        continue;
      }
      const fits = this.#judge(model.held, cost);
      passed = this.#passes(open.consulted, fits);
      for (const [l, held] of model.held.entries()) {
        const units = cost[unitOf(held.limit)] ?? 0;
        if (passed && fits[l]! && held.charged && units > 0) {
          this.#take(held.state, units);
          held.units += units;
        }
      }
    }
    if (
      passed !== undefined &&
      !(answer instanceof Error) &&
      !('degraded' in answer && answer.degraded)
    ) {
      agree('add passes', answer.allowed, passed);
      this.#seen.added += passed ? 1 : 0;
      this.#seen.resumedAdded += passed && open.isResumed ? 1 : 0;
    }
  }

  async #settle(open: Open): Promise<void> {
    const random = this.#random;
    const cancels = random.chance(20);
    const named = this.#cost(open.consulted, 15, 0) ?? {};
    const actual = cancels
      ? Object.fromEntries(open.consulted.map((limit) => [unitOf(limit), 0]))
      : this.#hasUnits
        ? named
        : { calls: named['calls'] ?? 0 };
    const isRetried = open.tried;
    const before = this.#now;
    const answer = await this.#do(
      ['answered', 'answered', 'answered', 'lost', 'resent', 'never'],
      () => (cancels ? open.handle.cancel() : open.handle.settle(this.#given(actual))),
    );
    random.note('settle', { actual, cancels, fate: this.#fate });
    open.tried = true;
    const isDegraded = open.degraded !== undefined;
    open.triedAt ??= before;
    const unreserved = isDegraded && before - open.triedAt < KEPT_US;
    const whole = isDegraded ? { ...open.degraded, ...actual } : actual;
    this.#seen.retried += isRetried ? 1 : 0;
    let result: Modelled['settled'];
    const changing = this.#changing();
    if (changing.length === 0 && this.#executed.length > 0 && !(answer instanceof Error)) {
      result = open.model.ends > this.#now ? open.model.settled : undefined;
      agree('held', open.model.ends > this.#now && result === undefined, false);
      this.#seen[result === undefined ? 'recalledGone' : 'recalledSettled'] += 1;
    }
    for (const { at } of changing) {
      result = this.#applySettle(
        open.model,
        whole,
        false,
        unreserved,
        at,
        open.consulted,
        open.parts,
        isDegraded,
      );
    }
    if (!(answer instanceof Error) && this.#executed.length > 0) {
      this.#checkSettlement(answer, result);
      this.#seen[result === undefined ? 'expired' : 'settled'] += 1;
      this.#seen.resumedSettled += open.isResumed && changing.length > 0 ? 1 : 0;
      this.#seen.partly +=
        Object.keys(actual).length < new Set(open.consulted.map(unitOf)).size ? 1 : 0;
      if (random.chance(70)) {
        this.#open.splice(this.#open.indexOf(open), 1);
      }
    }
  }

  /** `all`: nothing is left of it. Returns the result; undefined if the record is gone. */
  #applySettle(
    model: Modelled,
    actual: Units,
    all: boolean,
    unreserved: boolean,
    at: number,
    consulted: readonly Numbers[],
    parts: Parts,
    isDegraded = false,
  ): Modelled['settled'] {
    const isHeld = model.ends > at;
    if (isHeld && model.settled !== undefined) {
      return model.settled;
    }
    if (!isHeld && !unreserved) {
      return undefined;
    }
    this.#seen.unreserved += isHeld ? 0 : 1;
    const held: Held[] =
      isHeld && model.held !== undefined
        ? model.held
        : consulted.map((limit) => ({
            limit,
            state: this.#stateOf(limit, parts),
            units: 0,
            charged: true,
          }));
    const charged: Record<string, number> = {};
    const uncharged: Record<string, number> = {};
    for (const each of held) {
      const { limit, state, units: estimate } = each;
      const unit = unitOf(limit);
      const wanted = all ? 0 : (actual[unit] ?? estimate);
      let missing = 0;
      if (each.charged) {
        const room = limit.capacity + limit.maxDebt - (this.#used.get(state) ?? 0);
        missing = Math.max(0, wanted - estimate - Math.max(0, room));
        this.#take(state, wanted - missing - estimate);
      }
      this.#seen.uncharged += missing > 0 ? 1 : 0;
      // The result is that of the enforced limits, where a unit has one. Nothing is missing for want of shadows.
      if (
        !limit.shadow ||
        held.every((other) => other.limit.shadow || unitOf(other.limit) !== unit)
      ) {
        const lacking = limit.shadow ? 0 : missing;
        charged[unit] = Math.min(charged[unit] ?? Infinity, wanted - lacking);
        uncharged[unit] = Math.max(uncharged[unit] ?? 0, lacking);
      }
    }
    model.settled = { charged, uncharged };
    model.held = held;
    model.ends = Math.max(model.ends, at + (isDegraded ? 2 : 1) * KEPT_US);
    return model.settled;
  }

  #checkSettlement(answer: Settlement<string>, result: Modelled['settled']): void {
    agree('expired', answer.expired, result === undefined);
    if (result !== undefined) {
      const { charged, uncharged } = result;
      agree(
        'settlement',
        { charged: answer.charged, uncharged: answer.uncharged },
        this.#hasUnits
          ? { charged, uncharged }
          : { charged: charged['calls'], uncharged: uncharged['calls'] },
      );
    }
  }

  async #allow(): Promise<void> {
    const parts = this.#parts();
    const consulted = this.#consulted(parts);
    const cost = this.#cost(consulted, 5, 1);
    if (cost === undefined) {
      return;
    }
    const asked: Units = {
      ...(consulted.some((limit) => unitOf(limit) === 'calls') ? { calls: 1 } : {}),
      ...cost,
    };
    const decision = await this.#do(['answered', 'answered', 'lost', 'never'], () =>
      this.#limiter.allow(parts, { cost: this.#given(cost) }),
    );
    this.#random.note('allow', { parts, cost, fate: this.#fate });
    if (this.#isImpossible(consulted, asked) || this.#executed.length === 0) {
      return;
    }
    const rules = consulted
      .filter((limit) => asked[unitOf(limit)] !== undefined)
      .map((limit) => ({ limit, state: this.#stateOf(limit, parts) }));
    const fits = this.#judge(rules, asked);
    const passes = this.#passes(
      rules.map(({ limit }) => limit),
      fits,
    );
    const taken = rules.flatMap(({ limit, state }, i): [string, number][] =>
      passes && fits[i]! ? [[state, asked[unitOf(limit)]!]] : [],
    );
    for (const [state, units] of taken) {
      this.#take(state, units);
    }
    if (!(decision instanceof Error) && !decision.degraded) {
      agree('allow passes', decision.allowed, passes);
      if (passes) {
        this.#charges.push({ decision, taken });
      }
    }
  }

  async #refund(): Promise<void> {
    const [{ decision, taken }] = this.#charges.splice(
      this.#random.int(0, this.#charges.length - 1),
      1,
    ) as [Charge];
    await this.#do(['answered', 'lost', 'never'], () => this.#limiter.refund(decision as never));
    this.#random.note('refund', { taken, fate: this.#fate });
    for (const [state, units] of this.#executed.length > 0 ? taken : []) {
      this.#take(state, -units);
    }
  }

  /** Whether each limit of each home holds what the model says, and nothing else is stored. */
  #compare(): void {
    const held = new Map<string, number>();
    for (const [key, { value, endsAt }] of this.#values) {
      if (endsAt > this.#now && !key.includes('#r:')) {
        for (const [id, text] of statesIn(value as string)) {
          const { capacity } = this.#numbers.find(({ name }) => name === id.split('=')[0])!;
          const units = usedIn(id.at(-1)!, text, (YEAR_S * 1_000_000) / capacity, this.#now);
          if (units !== 0) held.set(`${key} ${id}`, units);
        }
      }
    }
    for (const [state, most] of this.#slack) {
      const used = this.#used.get(state)!;
      const now = held.get(state) ?? 0;
      agree(
        `${state} holds ${now} of ${used} to ${used + most}`,
        used <= now && now <= used + most,
        true,
      );
      this.#used.set(state, now);
    }
    this.#slack.clear();
    const expected = [...this.#used].filter(([, units]) => units !== 0);
    agree('held', held, new Map(expected));
  }
}

function statesIn(value: string): readonly (readonly [id: string, text: string])[] {
  return value
    .split(';')
    .slice(1)
    .map((part) => {
      const [, id, text] = /^([^=]*=[a-z])(.*)$/.exec(part) as unknown as [string, string, string];
      return [id, text] as const;
    });
}

/** The units that a state counts. One of a bucket recovers in `unitUs`, longer than a course lasts. */
function usedIn(letter: string, text: string, unitUs: number, now: number): number {
  const fields = text.split(/[:,]/);
  if (letter === 't') {
    const tat = fields[1] === 'v1' ? Number(fields[2]) + Number(fields[3]) : Number(fields[0]);
    return Math.ceil(Math.max(0, tat - now) / unitUs);
  }
  return letter === 'f' ? Number(fields[2]) : Number(fields[3]) + Number(fields[4]);
}
