import type { Entry, Rule, Shape, Verb } from '../../../src/script/call-shape.ts';
import type { Saved, Verdict } from '../../../src/algorithms/limit.ts';
import type { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Random } from '../random.mjs';
import { NO_CLOCK } from './engine.ts';
import type { Engine } from './engine.ts';
import { Bound, divideUp, longestWait, randomNumbers, spacing } from './numbers.ts';
import type { Numbers } from './numbers.ts';

const SECOND = 1_000_000;
const KEY = 'ns:token_bucket:id';
const STEPS = 120;
const MOST_LINES = 8;
/** So many units are spent one by one to see whether `remaining` is true. */
const MOST_SPENT = 120;

export type Law =
  | '1: no more passes than the greatest plan grants'
  | '2: a call that charges nothing changes no answer'
  | '3: a plan starts with the units that count, and keeps its own bound'
  | '4: no plan waits longer than the charge, nor than its own recovery'
  | '4: what a decision says of the future comes true'
  | '6: the lone bucket is a plain integer'
  | '7: what is given back lets no more pass'
  | 'a credit gives each plan its units, up to full'
  | 'expiry changes no answer';

/** What a history is made of. */
export interface Kind {
  /** `canaries`: own limits of equal spacing; `deploy`: of any spacing. */
  readonly owns: 'one' | 'canaries' | 'deploy';
  /** The most plans beside them. */
  readonly plans: number;
  /** Whether limits have `maxDebt`. */
  readonly debts: boolean;
  /** Whether Redis's clock steps. */
  readonly steps: boolean;
  /** Whether charges are given back. */
  readonly givesBack: boolean;
}

/** One way to ask: a process, and a plan, or none for its own limit. */
interface Asker {
  readonly set: LimitSet;
  readonly numbers: Numbers;
  readonly isOwn: boolean;
}

/** A charge that may be given back in part. */
interface Charge {
  readonly at: number;
  units: number;
  readonly entry: Entry;
  /** For a refund: the reply that tells its mark. */
  readonly reply: readonly number[] | undefined;
  /** For a settlement: its estimate. */
  readonly estimate: number;
  open: boolean;
}

interface Kept {
  readonly value: string;
  readonly expiresAt: number;
}

/** States with the TTLs of Redis, or without any. */
class Table {
  readonly kept: Map<string, Kept>;
  readonly #expires: boolean;
  now = 0;

  constructor(expires: boolean, kept: Map<string, Kept> = new Map()) {
    this.#expires = expires;
    this.kept = kept;
  }

  read(key: string): string | undefined {
    const found = this.kept.get(key);
    return found === undefined || (this.#expires && found.expiresAt <= this.now)
      ? undefined
      : found.value;
  }

  write(key: string, saved: Saved | undefined): void {
    if (saved === undefined) {
      this.kept.delete(key);
    } else {
      const expiresAt = this.now + saved.ttlMs * 1_000;
      this.kept.set(key, { value: saved.value as string, expiresAt });
    }
  }

  copy(): Table {
    return new Table(this.#expires, new Map(this.kept));
  }
}

/** One call of a history. */
export interface Sent {
  readonly entry: Entry;
  readonly now: number;
}

/** A random course of calls on one identity, by processes and plans that take turns, and how it breaks the laws. */
export class History {
  readonly broken = new Map<Law, string>();
  /** What the table without expiry was asked. */
  readonly sent: Sent[] = [];
  steps = 0;
  readonly #engine: Engine;
  readonly #random: Random;
  readonly #kind: Kind;
  readonly #owns: readonly Numbers[];
  readonly #plans: readonly Numbers[];
  readonly #askers: Asker[] = [];
  readonly #table = new Table(true);
  readonly #forEver = new Table(false);
  readonly #all: Bound;
  readonly #each = new Map<Numbers, Bound>();
  #charges: Charge[] = [];
  /** Charges from before a reset. */
  #worthless: Charge[] = [];
  /** Time that went by, and the server's clock, in microseconds. */
  #time = 1_000_000_000_000_000;
  #skew = 0;
  #stepped = false;
  #lone = true;
  #records = 0;

  constructor(engine: Engine, random: Random, kind: Kind) {
    this.#engine = engine;
    this.#random = random;
    this.#kind = kind;
    const isMany = kind.plans > MOST_LINES;
    const numbersOf = (): Numbers => {
      const numbers = randomNumbers(random);
      if (isMany) {
        // Of similar rates: what one fast plan recovers would hide what the others pass.
        const rate = random.int(1, 9);
        return { ...numbers, rate, periodMs: 3_600_000, burst: random.int(1, 5), maxDebt: 0 };
      }
      return kind.debts ? numbers : { ...numbers, maxDebt: 0 };
    };
    const own = { ...numbersOf(), shadow: false };
    const owns = [own];
    for (let i = random.int(0, 2); i > 0 && kind.owns !== 'one'; i--) {
      const [burst, maxDebt] = [random.pick([1, 20, 200]), random.pick([0, 0, 5])];
      owns.push(
        kind.owns === 'deploy' ? { ...numbersOf(), shadow: false } : { ...own, burst, maxDebt },
      );
    }
    this.#owns = owns;
    const count = random.int(isMany ? MOST_LINES + 1 : 0, kind.plans);
    this.#plans = Array.from({ length: count }, (_, i) => {
      const numbers = numbersOf();
      // One plan of many is far greater than all others: its line has to stay.
      return isMany && i === 0 ? { ...numbers, burst: 200 } : numbers;
    });
    const everything = [...owns, ...this.#plans];
    const most = Math.max(...everything.map(({ burst }) => burst));
    const sum = owns.reduce((total, { burst }) => total + burst, 0);
    const planned = Math.max(0, ...this.#plans.map(({ burst }) => burst));
    this.#all = new Bound(everything, kind.owns === 'deploy' ? sum + planned : most);
    for (const numbers of owns) {
      const set = this.#setOf(numbers);
      this.#askers.push({ set, numbers, isOwn: true });
      for (const plan of this.#plans) {
        this.#askers.push({ set: this.#setOf(plan, set), numbers: plan, isOwn: false });
      }
    }
    for (const numbers of [...owns, ...this.#plans]) {
      this.#each.set(numbers, new Bound([numbers]));
    }
  }

  get limits(): string {
    const text = ({ rate, periodMs, burst, maxDebt }: Numbers): string =>
      `${rate}/${periodMs}ms b${burst} d${maxDebt}`;
    return `own ${this.#owns.map(text).join(', ')}; plans ${this.#plans.map(text).join(', ')}`;
  }

  run(): void {
    for (let i = 0; i < STEPS; i++) {
      this.steps += 1;
      this.#pass();
      this.#act();
    }
    this.#checkGivenBack();
  }

  get #now(): number {
    return this.#time + this.#skew;
  }

  #setOf({ rate, periodMs, burst, maxDebt, shadow }: Numbers, own?: LimitSet): LimitSet {
    const { LimitSet, tokenBucket } = this.#engine;
    const limit = tokenBucket({ rate, period: `${periodMs}ms`, burst, maxDebt, shadow });
    return new LimitSet('ns', [limit], false, {
      clock: NO_CLOCK,
      ...(own === undefined ? {} : { own }),
    });
  }

  /** Lets time pass. */
  #pass(): void {
    const random = this.#random;
    const { numbers } = random.pick(this.#askers);
    const { p, n } = spacing(numbers);
    const unit = Number(p / n);
    this.#time += random.pick([
      0,
      0,
      1,
      unit,
      unit + 1,
      3 * unit,
      random.int(0, 5 * SECOND),
      unit * numbers.burst,
    ]);
    if (this.#kind.steps && random.chance(4)) {
      this.#stepped = true;
      this.#lone = false;
      const far = random.pick([1_000, SECOND / 2, 5 * SECOND, 3_600 * SECOND, 86_400 * SECOND]);
      if (random.chance(75)) {
        this.#closeRested();
        this.#skew -= far;
      } else {
        // The bounds grant the time of a step forward: it costs what recovers in it.
        this.#time += far;
      }
    }
  }

  /**
   * A full bucket is forgotten. So after a step back nothing tells that a charge had recovered before: it is not given
   * back in these histories.
   */
  #closeRested(): void {
    const rested = this.#askers.every(
      (asker) => this.#peek(this.#table, asker, this.#now).resetUs === 0,
    );
    if (rested) {
      for (const charge of [...this.#charges, ...this.#worthless]) {
        charge.open = false;
      }
    }
  }

  #act(): void {
    const random = this.#random;
    const asker = random.pick(this.#askers);
    const { burst } = asker.numbers;
    const cost = Math.min(burst, random.pick([1, 1, 1, 2, burst]));
    if (random.chance(15)) {
      this.#checkFreeCall(asker);
    }
    if (random.chance(8)) {
      this.#checkRemaining(asker);
    }
    if (this.#kind.givesBack && random.chance(35)) {
      this.#giveBack();
      return;
    }
    if (this.#kind.givesBack && random.chance(4)) {
      this.#credit(asker, random.pick([1, 1, 2, burst, 1_000]));
      return;
    }
    const action = random.int(1, 100);
    if (action <= 60) {
      this.#charge(asker, 'allow', cost);
    } else if (action <= 72) {
      this.#charge(asker, 'up_to', random.pick([1, 2, burst, 1_000]));
    } else if (action <= 90) {
      this.#charge(asker, 'reserve', cost);
    } else if (action <= 93) {
      this.#penalize(asker, random.pick([1, burst, 1_000_000_000]));
    } else if (action <= 96) {
      this.#call(asker, 'peek', 1);
    } else if (action <= 98) {
      this.#call(asker, 'allow', 0);
    } else {
      this.#reset(asker);
    }
  }

  #entry(asker: Asker, verb: Verb, units: number): Entry {
    const shape = asker.set.shape(verb, units);
    if (verb !== 'reserve') {
      return { key: KEY, shape };
    }
    this.#records += 1;
    const details = this.#engine.reserveDetails(this.#random.pick([1_000, 600_000]));
    return { key: KEY, shape, record: `#r:${this.#records}`, details };
  }

  /** Sends an entry to both tables. */
  #send(entry: Entry): readonly number[] {
    const now = this.#now;
    this.#table.now = now;
    this.#forEver.now = now;
    this.sent.push({ entry, now });
    const reply = this.#engine.decide([entry], now, this.#table) as number[];
    const other = this.#engine.decide([entry], now, this.#forEver);
    // A record that a step has left behind, or brought back, is another matter.
    if (!this.#stepped && entry.record === undefined && reply.join() !== other.join()) {
      this.#break('expiry changes no answer', `${reply.join()} ${other.join()}`);
    }
    return reply;
  }

  #call(asker: Asker, verb: Verb, units: number): { entry: Entry; reply: readonly number[] } {
    const entry = this.#entry(asker, verb, units);
    this.#lone &&= asker.isOwn && this.#owns.length === 1;
    return { entry, reply: this.#send(entry) };
  }

  #verdict({ shape }: Entry, reply: readonly number[]): Verdict {
    return this.#engine.readVerdicts(shape, reply, 1)[0]!;
  }

  #charge(asker: Asker, verb: 'allow' | 'up_to' | 'reserve', units: number): void {
    const before = this.#levels();
    const { entry, reply } = this.#call(asker, verb, units);
    const verdict = this.#verdict(entry, reply);
    const passed =
      verb === 'up_to'
        ? this.#engine.readGranted(entry.shape, reply, 1)
        : verdict.refused
          ? 0
          : units;
    if (verb === 'up_to' && asker.numbers.shadow && verdict.refused) {
      return; // it passes all units, and charges none
    }
    this.#checkWait(asker, verdict);
    if (verb === 'allow' && verdict.refused) {
      this.#checkRetry(asker, units, verdict);
    }
    this.#checkLevels(before, passed);
    this.#checkPlain();
    if (passed === 0) {
      return;
    }
    this.#note(asker, passed);
    this.#charges.push({
      at: this.#time,
      units: passed,
      entry,
      reply: verb === 'reserve' ? undefined : reply,
      estimate: passed,
      open: true,
    });
  }

  /** Holds a charge against the bounds. */
  #note(asker: Asker, units: number): void {
    if (this.#kind.givesBack) {
      return;
    }
    const over = this.#all.charge(units, this.#time);
    if (over > 0) {
      this.#break('1: no more passes than the greatest plan grants', `${over} more`);
    }
    const bound = this.#each.get(asker.numbers)!;
    const own = bound.charge(units, this.#time);
    // While own limits of other spacings share a state, or plans displace each other, only the sum is bounded.
    if (own > 0 && this.#kind.owns !== 'deploy' && this.#kind.plans <= MOST_LINES) {
      const law = '3: a plan starts with the units that count, and keeps its own bound';
      this.#break(law, `${own} more`);
    }
  }

  #checkPlain(): void {
    const value = this.#table.read(KEY);
    if (this.#lone && !/^\d+(?::\d+:\d+)?$/.test(value ?? '0')) {
      this.#break('6: the lone bucket is a plain integer', String(value));
    }
  }

  #penalize(asker: Asker, units: number): void {
    const before = this.#levels();
    this.#call(asker, 'penalize', units);
    this.#checkLevels(before, units);
  }

  #credit(asker: Asker, units: number): void {
    const levels = this.#levels();
    const { entry, reply } = this.#call(asker, 'credit', units);
    this.#lone = false;
    for (const [each, before] of levels ?? []) {
      const { p, n } = spacing(each.numbers);
      const after = this.#peek(this.#table, each, this.#now).resetUs;
      const off = after - Math.max(0, before - Number(divideUp(BigInt(units) * p, n)));
      if (Math.abs(off) > 2) {
        const law = 'a credit gives each plan its units, up to full';
        this.#break(law, `${after} µs after a gift of ${units}, before ${before} µs`);
      }
    }
    this.#charges.push({
      at: this.#time,
      units: -units,
      entry,
      reply,
      estimate: 0,
      open: false,
    });
  }

  #reset(asker: Asker): void {
    this.#call(asker, 'reset', 1);
    this.#lone = false;
    this.#checkGivenBack();
    this.#worthless = this.#charges.filter(({ open }) => open);
    this.#charges = [];
    // What passed before the reset counts no more.
    this.#forget();
  }

  /** After a reset the bounds begin anew. */
  #forget(): void {
    this.#all.forget();
    for (const bound of this.#each.values()) {
      bound.forget();
    }
  }

  #giveBack(): void {
    const random = this.#random;
    const known = [...this.#charges, ...this.#worthless].filter(({ open }) => open);
    if (known.length === 0) {
      return;
    }
    this.#lone = false;
    const charge = random.chance(25) ? known.at(-1)! : random.pick(known);
    const { entry, reply, estimate } = charge;
    const before = this.#levels();
    charge.open = false;
    if (reply !== undefined) {
      const details = this.#engine.readMarks(entry.shape, reply, 1);
      this.#send({ key: KEY, shape: this.#refundOf(entry.shape, estimate), details });
      charge.units = 0;
      this.#checkLevels(before, 0);
      return;
    }
    const actual = random.pick([0, 0, 1, estimate - 1, estimate, estimate + 2]);
    const details = this.#engine.settleDetails(Math.max(0, actual), 2_500, false);
    const shape = this.#settleOf(entry.shape);
    const answer = this.#send({ key: KEY, shape, record: entry.record, details });
    const settled = this.#engine.readSettled(answer, 1);
    if (settled === undefined) {
      return;
    }
    // Where all limits are shadows, the result is what was asked for, be it charged or not.
    const isShadow = entry.shape.rules.every(({ limit }) => limit.shadow);
    const more = isShadow ? Math.min(0, settled.charged - estimate) : settled.charged - estimate;
    if (more > 0) {
      this.#charges.push({ ...charge, at: this.#time, units: more });
    } else {
      charge.units = estimate + more;
    }
    this.#checkLevels(before, Math.max(0, settled.charged - estimate));
  }

  readonly #settles = new Map<Shape, Shape>();

  #settleOf(shape: Shape): Shape {
    let settle = this.#settles.get(shape);
    if (settle === undefined) {
      const rules = shape.rules.map((rule) => ({ ...rule, plan: priced(rule, 1) }));
      settle = this.#engine.makeShape('settle', 1, rules);
      this.#settles.set(shape, settle);
    }
    return settle;
  }

  #refundOf(shape: Shape, units: number): Shape {
    const rules = shape.rules.map((rule) => ({ ...rule, plan: priced(rule, 1) }));
    return this.#engine.makeShape('refund', units, rules);
  }

  /** Law 7: charges less what was given back of them. */
  #checkGivenBack(): void {
    const everything = [...this.#owns, ...this.#plans];
    const most = (of: readonly Numbers[]): number =>
      Math.max(0, ...of.map(({ burst, maxDebt }) => burst + maxDebt));
    const sum = this.#owns.reduce((total, { burst, maxDebt }) => total + burst + maxDebt, 0);
    const bound = new Bound(
      everything,
      this.#kind.owns === 'deploy' ? sum + most(this.#plans) : most(everything),
    );
    for (const { at, units } of this.#charges) {
      const over = units === 0 ? 0 : bound.charge(units, at);
      if (over > 0) {
        this.#break('7: what is given back lets no more pass', `${over} more`);
      }
    }
  }

  #peek(table: Table, asker: Asker, at: number, cost = 1): Verdict {
    const copy = table.copy();
    copy.now = at;
    const entry = { key: KEY, shape: asker.set.shape('peek', cost) };
    return this.#verdict(entry, this.#engine.decide([entry], at, copy) as number[]);
  }

  /** How far each plan that has a line is from full. */
  #levels(): Map<Asker, number> | undefined {
    if (!this.#random.chance(25) || this.#kind.owns !== 'one' || this.#kind.plans > MOST_LINES) {
      return undefined;
    }
    const value = this.#table.read(KEY);
    return new Map(
      this.#askers
        .filter((asker) => this.#hasLine(value, asker))
        .map((asker) => [asker, this.#peek(this.#table, asker, this.#now).resetUs]),
    );
  }

  #checkLevels(before: Map<Asker, number> | undefined, units: number): void {
    for (const [asker, level] of before ?? []) {
      const { p, n } = spacing(asker.numbers);
      const after = this.#peek(this.#table, asker, this.#now).resetUs;
      const most = level + Number(divideUp(BigInt(units) * p, n)) + 1;
      if (after > most) {
        const law = '4: no plan waits longer than the charge, nor than its own recovery';
        this.#break(law, `${after} µs after ${units} units, before ${level} µs`);
      }
    }
  }

  #checkWait({ numbers }: Asker, { retryUs }: Verdict): void {
    if (retryUs > longestWait(numbers)) {
      const law = '4: no plan waits longer than the charge, nor than its own recovery';
      this.#break(law, `${retryUs} µs to wait`);
    }
  }

  /**
   * From the state after a refusal: whatever is asked in vain meanwhile, the call passes in time, and not before. A plan
   * without a line may pass before, once nothing counts any more.
   */
  #checkRetry(asker: Asker, units: number, { retryUs }: Verdict): void {
    const table = this.#table.copy();
    const hasLine = this.#hasLine(table.read(KEY), asker);
    const at = this.#now + retryUs;
    for (const part of [0.3, 0.7]) {
      table.now = Math.min(at - 1, this.#now + Math.floor(retryUs * part));
      const entry = { key: KEY, shape: asker.set.shape('allow', units) };
      const reply = this.#engine.decide([entry], table.now, table) as number[];
      if (!hasLine && !this.#verdict(entry, reply).refused) {
        return;
      }
    }
    const early = this.#peek(table, asker, at - 1, units).refused;
    const late = this.#peek(table, asker, at, units).refused;
    if ((hasLine && !early) || late) {
      const law = '4: what a decision says of the future comes true';
      this.#break(law, `in ${retryUs} µs ${early} ${late}`);
    }
  }

  #checkRemaining(asker: Asker): void {
    const table = this.#table.copy();
    table.now = this.#now;
    const { remaining } = this.#peek(table, asker, this.#now);
    const allow = { key: KEY, shape: asker.set.shape('allow', 1) };
    for (let i = 0; i < Math.min(remaining, MOST_SPENT); i++) {
      const reply = this.#engine.decide([allow], this.#now, table) as number[];
      if (this.#verdict(allow, reply).refused) {
        this.#break('4: what a decision says of the future comes true', `${i} of ${remaining}`);
        return;
      }
    }
    this.#checkStart(asker, remaining);
  }

  /** Law 3: under a plan without a line, the units that a plain state counts are used. */
  #checkStart({ numbers, isOwn }: Asker, remaining: number): void {
    const value = this.#table.read(KEY) ?? '';
    const [, tat, rem = '0', parts = '1'] = /^(\d+)(?::(\d+):(\d+))?$/.exec(value) ?? [];
    if (tat === undefined || isOwn || this.#owns.length > 1 || this.#stepped) {
      return;
    }
    const { p, n } = spacing(this.#owns[0]!);
    const ahead = (BigInt(tat) - BigInt(this.#now)) * BigInt(parts) + BigInt(rem);
    // Units used are ahead · n / (parts · p).
    const left = BigInt(numbers.burst) * BigInt(parts) * p - (ahead > 0n ? ahead * n : 0n);
    const expected = left > 0n ? Number(left / (BigInt(parts) * p)) : 0;
    if (remaining !== expected) {
      const law = '3: a plan starts with the units that count, and keeps its own bound';
      this.#break(law, `${remaining} remain, not ${expected}`);
    }
  }

  /** Law 2: peeks, calls of cost 0 and refusals, at this instant and later. */
  #checkFreeCall(asker: Asker): void {
    if (this.#kind.owns === 'deploy') {
      return;
    }
    const now = this.#now;
    const later = now + this.#random.pick([0, 1, SECOND, 10 * SECOND]);
    const table = this.#table.copy();
    table.now = now;
    const verb = this.#random.pick(['peek', 'allow'] as const);
    const { burst } = asker.numbers;
    const cost = verb === 'peek' ? this.#random.pick([1, burst]) : this.#random.pick([0, burst]);
    if (verb === 'allow' && cost > 0 && !this.#peek(table, asker, now, cost).refused) {
      return;
    }
    const value = table.read(KEY);
    // The first to notice a step fixes from when time counts again.
    const noticed =
      this.#stepped && (value === undefined || !value.includes(':v1:') || atOf(value) > now);
    const views = (at: number): string =>
      this.#askers
        .filter((each) => at === now || (!noticed && this.#hasLine(value, each)))
        .map((each) => Object.values(this.#peek(table, each, at)).join())
        .join(' ');
    const before = [views(now), views(later)];
    const entry = { key: KEY, shape: asker.set.shape(verb, cost) };
    this.#engine.decide([entry], now, table);
    const after = [views(now), views(later)];
    if (before.join() !== after.join()) {
      const law = '2: a call that charges nothing changes no answer';
      this.#break(law, `${verb} of ${cost} ${before.join(' | ')} -> ${after.join(' | ')}`);
    }
  }

  /** Whether a stored value counts for this plan by a line of its own. */
  #hasLine(value: string | undefined, { numbers, isOwn, set }: Asker): boolean {
    const { p, n } = spacing(numbers);
    const label = `:${p}:${n}:${numbers.burst}:${numbers.maxDebt}:`;
    if (value === undefined) {
      return isOwn;
    }
    const own = isOwn || !set.shape('peek', 1).args.includes('beside');
    if (!value.includes(':v1:')) {
      return own && Number(value.split(':')[0]) - this.#now <= longestWait(numbers) - 2;
    }
    if (value.split(',').some((line, i) => i > 0 && line.includes(label))) {
      return true;
    }
    const [, , , tat = 0, , , top = 0] = value.split(/[:,]/).map(Number);
    const most = longestWait(numbers) - 1;
    return own && top >= most && tat < most;
  }

  #break(law: Law, how: string): void {
    if (!this.broken.has(law)) {
      this.broken.set(law, `step ${this.steps}: ${how}; ${this.limits}`);
    }
  }
}

function atOf(value: string): number {
  return Number(value.split(':')[2]);
}

function priced({ limit, plan }: Rule, units: number): Rule['plan'] {
  return limit.twin.price(plan, units);
}
