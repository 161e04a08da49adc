import type { Limit } from '../../../src/index.ts';
import type { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import type { Verdict } from '../../../src/algorithms/limit.ts';
import { agree } from '../fakes/agreement.ts';
import type { LateAnswers } from '../fakes/agreement.ts';
import type { Random } from '../random.mjs';
import { groupedByProduction, groupedOneByOne } from '../twins/grouping.ts';
import type { Grouping } from '../twins/grouping.ts';
import type { LuaTwin } from '../twins/lua-twin.ts';
import { MapTable, writeOf } from '../twins/map-table.ts';
import { Oracle } from '../twins/oracle.ts';
import type { OracleCall, OracleRule, OracleVerdict } from '../twins/oracle.ts';
import type { HomesEngine } from './engine.ts';
import {
  asked,
  asksNothing,
  blockable,
  consulted,
  isImpossible,
  isOfHome,
  keyOf,
  ruleOf,
  unitOf,
} from './words.ts';
import type { Numbers, Parts, Said, Spoken, Units } from './words.ts';

const SECOND = 1_000_000;
const START = Date.UTC(2026, 0, 31, 23, 58) * 1_000;

/** What the run has seen: a test of nothing would show here. */
export function noCounts() {
  return {
    steps: 0,
    passed: 0,
    refused: 0,
    severalHomes: 0,
    severalUnits: 0,
    ofNoUnits: 0,
    zeroAsked: 0,
    leftOut: 0,
    planned: 0,
    blocked: 0,
    refunded: 0,
    reset: 0,
    invalid: 0,
    impossible: 0,
    unreadable: 0,
    backwards: 0,
    apart: 0,
  };
}
export type Counts = ReturnType<typeof noCounts>;

/** By the homes that they share a slot with, or not. */
const LAYOUTS: readonly (readonly (readonly string[])[])[] = [
  [['org', 'user'], ['org'], ['ip', 'org'], ['ip', 'org', 'user']],
  [['ip'], ['user'], ['ip', 'user'], []],
];
const PARTS = ['ip', 'org', 'user'];

function anyNumbers(random: Random, name: string | undefined, by: readonly string[]): Numbers {
  const kind = random.chance(30) ? 'window' : 'bucket';
  return {
    name,
    kind,
    by,
    unit: random.pick([undefined, 'tokens', 'micros', 'tokens']),
    rate: random.int(1, 12),
    periodS: random.pick([60, 7, 600]),
    burst: random.int(1, 9),
    maxDebt: random.chance(30) ? random.int(0, 5) : 0,
    shadow: random.chance(15),
  };
}

/** The same limit with other numbers, as a plan that a customer has bought; sometimes one that counts by other parts. */
function otherNumbers(
  random: Random,
  { name, kind, by, unit, periodS }: Numbers,
  elsewhere: readonly string[],
): Numbers {
  const other = { ...anyNumbers(random, name, random.chance(20) ? elsewhere : by), kind, unit };
  return kind === 'window' ? { ...other, periodS } : other;
}

/** Limits that calls may pass. */
interface SpokenPlan {
  readonly numbers: readonly Numbers[];
  readonly set: LimitSet;
}

/** A charge that may be refunded. */
interface Charge {
  readonly entry: Entry;
  readonly reply: readonly number[];
  readonly at: number;
  readonly rules: readonly OracleRule[];
  readonly charged: readonly unknown[];
}

interface Posed {
  readonly entry: Entry;
  readonly call: OracleCall;
}

/**
 * A random course of calls of one limiter, whose limits count by different parts and in different units: decided by the
 * TypeScript twin and the oracle, and by Lua if there is a server. Throws at the first difference, be it of a reply, a
 * written value or a TTL.
 */
export class HomesTrace {
  readonly #engine: HomesEngine;
  readonly #random: Random;
  readonly #counts: Counts;
  readonly #server: { lua: LuaTwin; answers: LateAnswers } | undefined;
  readonly #spoken: Spoken;
  readonly #own: LimitSet;
  readonly #plans: readonly SpokenPlan[];
  readonly #hasUnits: boolean;
  readonly #parts: readonly string[];
  readonly #stepsBack: boolean;
  readonly #table = new MapTable();
  readonly #oracle: Oracle;
  readonly #charges: Charge[] = [];
  #now = START;
  #turn = 0;

  constructor(
    engine: HomesEngine,
    random: Random,
    namespace: string,
    counts: Counts,
    server?: { lua: LuaTwin; answers: LateAnswers },
  ) {
    this.#engine = engine;
    this.#random = random;
    this.#counts = counts;
    this.#server = server;
    const layout = random.pick(LAYOUTS);
    this.#hasUnits = random.chance(75);
    const plain = (numbers: Numbers): Numbers =>
      this.#hasUnits ? numbers : { ...numbers, unit: undefined };
    const names = ['a', 'b.c', undefined, 'd-e', 'f_'];
    const own = random
      .list(2, 5, () => random.pick(layout))
      .map((by, i) => plain(anyNumbers(random, names[i], by)));
    this.#hasUnits = own.some(({ unit }) => unit !== undefined);
    this.#spoken = { namespace, own, blocks: random.chance(40) };
    this.#own = new engine.LimitSet(namespace, this.#limitsOf(own), this.#spoken.blocks);
    const tag = own[0]!.by.filter((part) => own.every(({ by }) => by.includes(part)));
    this.#plans = random
      .list(0, 2, (i) =>
        this.#spoken.blocks && random.chance(20)
          ? []
          : random.list(1, 3, (l) =>
              random.chance(60)
                ? otherNumbers(random, random.pick(own), random.pick(layout))
                : anyNumbers(random, `p${i}${l}`, random.pick(layout)),
            ),
      )
      .map((numbers) => this.#plan(numbers.map(plain), tag));
    this.#parts = PARTS.filter((part) =>
      [...own, ...this.#plans.flatMap(({ numbers }) => numbers)].some(({ by }) =>
        by.includes(part),
      ),
    );
    this.#stepsBack = random.chance(40);
    this.#oracle = new Oracle(!this.#stepsBack);
    counts.apart += tag.length === 0 ? 1 : 0;
  }

  /** A plan without two limits of one name, of units that the limiter counts, of homes in its slot. */
  #plan(given: readonly Numbers[], tag: readonly string[]): SpokenPlan {
    const { own, namespace, blocks } = this.#spoken;
    const units = own.map(unitOf);
    const numbers = given
      .filter(({ name }, i) => given.findIndex((each) => each.name === name) === i)
      .map((limit) => (units.includes(unitOf(limit)) ? limit : { ...limit, unit: own[0]!.unit }))
      .map((limit) =>
        tag.every((part) => limit.by.includes(part)) ? limit : { ...limit, by: own[0]!.by },
      );
    const set = new this.#engine.LimitSet(namespace, this.#limitsOf(numbers), blocks, {
      own: this.#own,
    });
    return { numbers, set };
  }

  #limitsOf(all: readonly Numbers[]): Limit<string, string, string>[] {
    return all.map(({ name, kind, by, unit, rate, periodS, burst, maxDebt, shadow }) => {
      const common = {
        ...(name === undefined ? {} : { name }),
        ...(unit === undefined ? {} : { unit }),
        by,
        rate,
        period: periodS,
        shadow,
      };
      return kind === 'bucket'
        ? this.#engine.tokenBucket({ ...common, burst, maxDebt })
        : this.#engine.fixedWindow(common);
    });
  }

  /** Decides the calls of one instant. */
  turn(): void {
    const random = this.#random;
    this.#turn += 1;
    const before = this.#now;
    this.#now += random.pick([0, 0, 1, SECOND, 7 * SECOND, 61 * SECOND, random.int(0, 9 * SECOND)]);
    if (this.#stepsBack && random.chance(15)) {
      this.#now -= random.pick([1, SECOND, 30 * SECOND, 700 * SECOND]);
    }
    this.#counts.backwards += this.#now < before ? 1 : 0;
    this.#spoil();
    const posed: Posed[] = [];
    for (const _ of random.steps(1, 6)) {
      const one = this.#pose();
      if (one !== undefined) {
        // As often as callers repeat themselves: neighbours then share keys.
        const times = one.call.verb === 'allow' && random.chance(15) ? random.int(2, 3) : 1;
        posed.push(...Array.from({ length: times }, () => one));
      }
    }
    random.note('turn', { now: this.#now, calls: posed.map(({ call }) => call) });
    const entries = posed.map(({ entry }) => entry);
    const groupings =
      entries.length === 0
        ? []
        : random.chance(70)
          ? groupedByProduction(entries)
          : [groupedOneByOne(entries)];
    let from = 0;
    for (const grouping of groupings) {
      this.#decide(grouping, posed.slice(from, from + grouping.entries.length));
      from += grouping.entries.length;
    }
  }

  /** Puts a state that nobody can read under some key. */
  #spoil(): void {
    const random = this.#random;
    const stored = [...this.#table.stored];
    if (stored.length === 0 || !random.chance(3)) {
      return;
    }
    const [key, value] = random.pick(stored);
    const spoilt = key.endsWith('#block')
      ? 'garbage'
      : random.pick(['garbage', `${value}:`, value.replace(/=[tf]\d+/, (text) => `${text}!`)]);
    this.#table.stored.set(key, spoilt);
    this.#oracle.stored.set(key, { value: spoilt, expiresAt: undefined });
    this.#server?.answers.add(this.#server.lua.put(new Map([[key, spoilt]])));
  }

  #pose(): Posed | undefined {
    const random = this.#random;
    const kind = random.int(0, 99);
    if (kind < 10 && this.#charges.length > 0) {
      return this.#refund();
    }
    if (kind < 18) {
      return this.#ofOneHome(random.chance(60) ? 'reset' : random.pick(['block', 'unblock']));
    }
    return this.#call(kind < 30 ? 'peek' : 'allow');
  }

  #refund(): Posed {
    const [{ entry, reply, at, rules, charged }] = this.#charges.splice(
      this.#random.int(0, this.#charges.length - 1),
      1,
    ) as [Charge];
    const { key, homes, shape } = entry;
    const decision = {};
    this.#engine.attachReceipt(decision, {
      issuer: this,
      key,
      homes,
      shape,
      reply,
      at,
      refunded: false,
    });
    this.#counts.refunded += 1;
    return {
      entry: this.#engine.redeem(decision, this),
      call: { verb: 'refund', rules: rules.map((rule, i) => ({ ...rule, charged: charged[i] })) },
    };
  }

  /** `reset`, `block` or `unblock` of the home of exactly some parts. */
  #ofOneHome(verb: 'reset' | 'block' | 'unblock'): Posed | undefined {
    const random = this.#random;
    const { own, blocks } = this.#spoken;
    if (verb !== 'reset' && !blocks) {
      return undefined;
    }
    const plan = verb === 'reset' && random.chance(20) ? this.#anyPlan() : undefined;
    const limits = plan?.numbers ?? own;
    if (limits.length === 0) {
      return undefined;
    }
    const { by } = random.pick(limits);
    const parts = Object.fromEntries(by.map((part) => [part, this.#value(part)]));
    const { limits: mine, key } = (plan?.set ?? this.#own).locateHome(parts, undefined);
    if (verb === 'reset') {
      const rules = limits
        .filter((limit) => isOfHome(limit, parts))
        .map((limit) => ruleOf(this.#spoken, limit, parts, plan !== undefined, 0));
      this.#counts.reset += 1;
      return { entry: { key, shape: mine.shape('reset', 1) }, call: { verb, rules } };
    }
    const ms = random.pick([1, 2_000, 60_000]);
    return {
      entry: { key, shape: this.#engine.blockShape(verb === 'block' ? 'penalize' : 'reset', ms) },
      call: {
        verb,
        rules: [],
        blocks: [keyOf(this.#spoken, by, parts)],
        durationUs: BigInt(ms) * 1_000n,
      },
    };
  }

  #anyPlan(): SpokenPlan | undefined {
    return this.#plans.length === 0 ? undefined : this.#random.pick(this.#plans);
  }

  #value(part: string): string {
    return this.#random.pick([`${part}0`, `${part}1`]);
  }

  #identity(): Parts {
    return Object.fromEntries(
      this.#parts.map((part) => [part, this.#random.chance(12) ? null : this.#value(part)]),
    );
  }

  /** Units by name, some of them 0 and some left out; or a number where no limit has a unit. */
  #cost(limits: readonly Numbers[]): number | Units {
    const random = this.#random;
    if (!this.#hasUnits) {
      return random.pick([1, 1, 2, 3]);
    }
    const names = [...new Set([...limits, ...this.#spoken.own].map(unitOf))];
    const named = names.filter((name) => random.chance(name === 'calls' ? 30 : 75));
    return Object.fromEntries(named.map((name) => [name, random.pick([1, 2, 0, 3, 5])]));
  }

  #call(verb: 'allow' | 'peek'): Posed | undefined {
    const random = this.#random;
    const plan = random.chance(30) ? this.#anyPlan() : undefined;
    const said: Said = {
      parts: this.#identityOf(plan?.numbers),
      cost: this.#cost(plan?.numbers ?? this.#spoken.own),
      plan: plan?.numbers,
    };
    const set = plan?.set ?? this.#own;
    const located = this.#locate(set, said);
    if (located === undefined) {
      return undefined;
    }
    const { limits, key, homes, cost } = located;
    const impossible = isImpossible(this.#spoken, said);
    agree('impossible', limits.isImpossible(cost), impossible);
    if (impossible) {
      this.#counts.impossible += 1;
      return undefined;
    }
    const rules = consulted(this.#spoken, said).flatMap((limit) => {
      const units = asked(limit, said.cost);
      return units === undefined
        ? []
        : [ruleOf(this.#spoken, limit, said.parts, plan !== undefined, units)];
    });
    const blocks = this.#spoken.blocks
      ? blockable(this.#spoken, said.parts).map((by) => keyOf(this.#spoken, by, said.parts))
      : [];
    this.#counts.planned += plan === undefined ? 0 : 1;
    this.#counts.severalHomes += new Set(rules.map(({ home }) => home)).size > 1 ? 1 : 0;
    this.#counts.severalUnits += new Set(rules.map((rule) => rule.cost)).size > 1 ? 1 : 0;
    this.#counts.ofNoUnits += this.#hasUnits ? 0 : 1;
    this.#counts.zeroAsked += rules.some((rule) => rule.cost === 0n) ? 1 : 0;
    this.#counts.leftOut += Object.values(said.parts).includes(null) ? 1 : 0;
    return {
      entry: { key, homes, shape: limits.shape(verb, cost) },
      call: { verb, rules, blocks },
    };
  }

  /** An identity has the parts of the limiter's limits and of the call's. */
  #identityOf(plan: readonly Numbers[] = []): Parts {
    const mine = [...this.#spoken.own, ...plan].flatMap(({ by }) => by);
    return Object.fromEntries(
      Object.entries(this.#identity()).filter(([part]) => mine.includes(part)),
    );
  }

  /** The limits and keys of a call; undefined for a call that is refused as invalid, which the words must say, too. */
  #locate(set: LimitSet, said: Said) {
    const invalid = asksNothing(this.#spoken, said);
    try {
      const cost = set.ask('cost', said.cost);
      const located = set.locate(said.parts, undefined);
      located.limits.requireAsked(cost, set);
      agree(`asks nothing: ${JSON.stringify(said)}`, false, invalid && !isAllZero(said.cost));
      return { ...located, cost };
    } catch (error) {
      if ((error as { code?: string }).code === undefined) {
        throw error;
      }
      agree(`asks nothing: ${String(error)}`, true, invalid);
      this.#counts.invalid += 1;
      return undefined;
    }
  }

  #decide({ keys, args, entries }: Grouping, posed: readonly Posed[]): void {
    const now = this.#now;
    const where = `turn ${this.#turn} at ${now - START}`;
    const reply = this.#engine.decide(entries, now, this.#table);
    const writes = this.#table.takeWrites();
    const { lua, answers } = this.#server ?? {};
    answers?.add(lua!.decide({ keys, args, entries }, now), (theirs) => {
      agree(`${where}: reply of Lua`, theirs.reply, reply);
      agree(`${where}: writes of Lua`, [...theirs.writes].sort(), writes);
    });
    const expected = this.#oracle.decide(
      posed.map(({ call }) => call),
      BigInt(now),
    );
    agree(
      `${where}: writes of the oracle`,
      [...expected.writes].map(([key, write]) => writeOf(key, write)).sort(),
      writes,
    );
    let at = 1;
    for (const [i, { entry, call }] of posed.entries()) {
      const { shape } = entry;
      const answer = reply.slice(at, at + shape.width);
      const what = `${where}: answer ${i} to ${call.verb}`;
      const oracle = expected.answers[i]!;
      this.#counts.steps += 1;
      if (oracle === 'done') {
        agree(
          what,
          answer.some((each) => typeof each === 'string'),
          false,
        );
      } else if (oracle === 'unreadable') {
        this.#counts.unreadable += 1;
        agree(
          what,
          answer.map((each) => String(each).split(' ')[0]),
          answer.map(() => 'UNREADABLE'),
        );
      } else {
        agree(
          what,
          answer.filter((each) => typeof each === 'string'),
          [],
        );
        const verdicts = this.#engine.readVerdicts(shape, reply as number[], at);
        agree(what, verdicts.map(inWords), oracle.map(ofOracle));
        this.#note(call, verdicts, shape.rules.length);
        const passes = verdicts.every(({ refused }, l) => !refused || shape.rules[l]!.limit.shadow);
        if (call.verb === 'allow' && passes && call.rules.length > 0) {
          const charged = expected.charges[i]!;
          this.#charges.push({ entry, reply: reply as number[], at, rules: call.rules, charged });
        }
      }
      at += shape.width;
    }
  }

  #note(call: OracleCall, verdicts: readonly Verdict[], rules: number): void {
    if (call.verb !== 'allow') {
      return;
    }
    const isBlocked = verdicts.slice(call.rules.length, rules).some(({ refused }) => refused);
    const isRefused = verdicts.some(({ refused }) => refused);
    this.#counts.blocked += isBlocked ? 1 : 0;
    this.#counts.refused += isRefused ? 1 : 0;
    this.#counts.passed += isRefused ? 0 : 1;
  }

  /** Compares what the stores hold in the end. */
  finish(): void {
    const { lua, answers } = this.#server ?? {};
    const keys = [...this.#table.stored.keys()];
    answers?.add(lua!.read(keys), (held) => {
      agree('stored by Lua in the end', held, [...this.#table.stored.values()]);
    });
    if (this.#stepsBack) {
      const kept = [...this.#oracle.stored].map(([key, { value }]) => [key, value]);
      agree(
        'stored by the oracle in the end',
        new Map(kept as [string, string][]),
        this.#table.stored,
      );
    }
  }
}

function isAllZero(cost: number | Units): boolean {
  return (
    typeof cost === 'object' && 'calls' in cost && Object.values(cost).every((each) => each === 0)
  );
}

function inWords({ refused, remaining, over, resetUs, retryUs }: Verdict): readonly unknown[] {
  return [refused, remaining, over, resetUs, retryUs];
}

function ofOracle({
  refused,
  remaining,
  over,
  resetUs,
  retryUs,
}: OracleVerdict): readonly unknown[] {
  return [refused, ...[remaining, over, resetUs, retryUs].map(Number)];
}
