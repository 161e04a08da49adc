import { readMarks, readVerdicts } from '../../../src/script/read-answer.ts';
import { decide } from '../../../src/script/decide.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { JITTER } from '../../../src/algorithms/limit.ts';
import type { Verdict } from '../../../src/algorithms/limit.ts';
import { LateAnswers } from '../fakes/agreement.ts';
import type { Random } from '../random.mjs';
import type { Ask, Asked } from './asks.ts';
import { CallBuilder } from './asks.ts';
import { groupedByProduction, groupedOneByOne } from './grouping.ts';
import type { Write } from './map-table.ts';
import { MapTable, writeOf } from './map-table.ts';
import type { Grouping } from './grouping.ts';
import type { LuaTwin, Reply } from './lua-twin.ts';
import { Oracle } from './oracle.ts';
import type { OracleAnswer, OracleCall, OracleVerdict, OracleWrite } from './oracle.ts';
import { Trace } from './traces.ts';

/** What the run has seen: a test of nothing would show here. */
export interface Counts {
  steps: number;
  scriptCalls: number;
  /** Script calls that begin on the fast path of lone-path.lua. */
  lone: number;
  /** Of these, those that meet a state there which is left to the driver; on the first key, and on a later one. */
  loneLeft: number;
  loneLeftInTheMiddle: number;
  /** Of these, those that ask for each key several times. */
  loneSeveral: number;
  /** Of these, those with states in fractions of a microsecond. */
  loneFractions: number;
  /** Script calls that begin in home-path.lua; of these, those of several limits. */
  home: number;
  homeSeveral: number;
  /** Script calls that the driver alone decides. */
  driver: number;
  allowed: number;
  refused: number;
  peeked: number;
  reset: number;
  unreadable: number;
  /** Steps under two or more limits. */
  underSeveral: number;
  /** Steps on a key that had a part in an earlier step of the same script call. */
  repeated: number;
  backSteps: number;
  /** States of several lines that were read. */
  longs: number;
  /** Refusals shown to pass at their `retryUs` and not 1 µs before; by Lua, equal ones of a turn are shown once. */
  retries: number;
  retriesOnServer: number;
}

export function noCounts(): Counts {
  return {
    steps: 0,
    scriptCalls: 0,
    lone: 0,
    loneLeft: 0,
    loneLeftInTheMiddle: 0,
    loneSeveral: 0,
    loneFractions: 0,
    home: 0,
    homeSeveral: 0,
    driver: 0,
    allowed: 0,
    refused: 0,
    peeked: 0,
    reset: 0,
    unreadable: 0,
    underSeveral: 0,
    repeated: 0,
    backSteps: 0,
    longs: 0,
    retries: 0,
    retriesOnServer: 0,
  };
}

interface Refused {
  readonly ask: Ask;
  readonly retryAt: number;
}

/**
 * One random trace through three: the TypeScript twin, the Lua twin on a real server, and the oracle. Each turn of
 * it is decided at once by all, and once more call by call in TypeScript. Throws at the first difference.
 */
export class Lockstep {
  readonly #lua: LuaTwin;
  readonly #random: Random;
  readonly #name: string;
  readonly #counts: Counts;
  readonly #oracle: Oracle;
  readonly #trace: Trace;
  readonly #builder = new CallBuilder();
  readonly #table = new MapTable();
  /** The same trace, one call at a time. */
  readonly #singly = new MapTable();
  readonly #answers = new LateAnswers();
  #refused: Refused | undefined;
  #turn = 0;
  #now = 0;
  #probes = 0;

  constructor(lua: LuaTwin, random: Random, name: string, counts: Counts) {
    const stepsBack = random.chance(70);
    this.#lua = lua;
    this.#random = random;
    this.#name = name;
    this.#counts = counts;
    // Where the clock only goes forward, the oracle forgets what has expired; the twins never do. That they agree
    // shows that expiry changes no decision.
    this.#oracle = new Oracle(!stepsBack);
    this.#trace = new Trace(random, name, stepsBack);
  }

  /** Decides one turn and sends it to the server, whose answers `finish` awaits. */
  turn(): void {
    this.#turn += 1;
    const { now, put, asks } = this.#trace.next({
      stored: this.#table.stored,
      refused: this.#refused,
    });
    this.#random.note('turn', { now, put, asks });
    this.#counts.backSteps += now < this.#now ? 1 : 0;
    this.#now = now;
    this.#refused = undefined;
    this.#putAll(put);
    const built = asks.map((ask) => this.#builder.build(ask));
    const entries = built.map(({ entry }) => entry);
    const groupings = this.#random.chance(75)
      ? groupedByProduction(entries)
      : inPieces(entries, 40).map(groupedOneByOne);
    const seen = new Set<string>();
    let from = 0;
    for (const grouping of groupings) {
      this.#decide(grouping, built.slice(from, from + grouping.entries.length), seen);
      from += grouping.entries.length;
    }
    this.#counts.longs += this.#oracle.longs;
    this.#oracle.longs = 0;
  }

  /** Waits until the server has answered all turns, and compares what it holds in the end. */
  async finish(): Promise<void> {
    const keys = [...this.#table.stored.keys()];
    const values = keys.map((key) => this.#table.stored.get(key));
    this.#answers.add(this.#lua.read(keys), (held) =>
      this.#agree('states in the end', values, held),
    );
    await this.#answers.all();
    this.#agree(
      'states in the end, call by call',
      [...this.#table.stored].map(([key, value]) => `${key} ${value}`).sort(),
      [...this.#singly.stored].map(([key, value]) => `${key} ${value}`).sort(),
    );
  }

  #putAll(put: ReadonlyMap<string, string>): void {
    if (put.size === 0) {
      return;
    }
    this.#answers.add(this.#lua.put(put));
    for (const [key, value] of put) {
      for (const { stored } of [this.#table, this.#singly]) {
        if (value === '') stored.delete(key);
        else stored.set(key, value);
      }
      if (value === '') this.#oracle.stored.delete(key);
      else this.#oracle.stored.set(key, { value, expiresAt: undefined });
    }
  }

  #decide(grouping: Grouping, built: readonly Asked[], probed: Set<string>): void {
    const now = this.#now;
    this.#countPath(grouping);
    this.#counts.steps += built.length;
    const onServer = this.#lua.decide(grouping, now);
    const reply = decide(grouping.entries, now, this.#table);
    const writes = this.#table.takeWrites();
    const turn = this.#turn;
    this.#answers.add(onServer, (answer) => {
      this.#agree(`reply of Lua in turn ${turn}`, reply, answer.reply);
      this.#agree(`writes of Lua in turn ${turn}`, writes, [...answer.writes].sort());
    });

    const expected = this.#oracle.decide(
      built.map(({ call }) => call),
      BigInt(now),
    );
    this.#agree('writes of the oracle', writes, asWrites(expected.writes));
    const seen = new Set<string>();
    let place = 1;
    built.forEach((each, i) => {
      const { shape } = each.entry;
      const answer = reply.slice(place, place + shape.width);
      place += shape.width;
      const alone = decide([each.entry], now, this.#singly);
      const singly = alone.slice(1, 1 + shape.width);
      this.#agree(`answer ${i}, call by call`, answer, singly);
      if (shape.verb === 'allow' && typeof answer[0] === 'number') {
        const marks = readMarks(shape, reply as number[], place - shape.width);
        this.#agree(`marks ${i}, call by call`, marks, readMarks(shape, alone as number[], 1));
      }
      this.#count(each, seen);
      this.#check(each, answer, expected.answers[i] as OracleAnswer, i, probed);
    });
  }

  #check(
    built: Asked,
    answer: Reply,
    expected: OracleAnswer,
    i: number,
    probed: Set<string>,
  ): void {
    if (expected === 'done') {
      this.#agree(
        `answer ${i}`,
        answer,
        answer.map(() => 1),
      );
      return;
    }
    if (expected === 'unreadable') {
      this.#counts.unreadable += 1;
      this.#agree(
        `answer ${i}`,
        answer.map((each) => String(each).split(' ')[0]),
        answer.map(() => 'UNREADABLE'),
      );
      return;
    }
    const verdicts = readVerdicts(built.entry.shape, answer as readonly number[], 0);
    this.#agree(
      `answer ${i}`,
      verdicts.flatMap(numbersOf),
      expected.map(asVerdict).flatMap(numbersOf),
    );
    if (!verdicts.some(({ refused }) => refused)) {
      this.#counts.allowed += built.ask.verb === 'allow' ? 1 : 0;
      return;
    }
    this.#counts.refused += 1;
    const retryAt = this.#now + Math.max(...verdicts.map(({ retryUs }) => retryUs));
    this.#refused = { ask: built.ask, retryAt };
    this.#showRetry(built, retryAt, i, probed);
  }

  /**
   * From the states right after a refusal: 1 µs before its time the call is refused again, at its time it passes. A limit
   * that has no line of its own passes before, once all lines rest.
   */
  #showRetry({ ask, entry, call }: Asked, retryAt: number, i: number, probed: Set<string>): void {
    const what = `retry of answer ${i} at ${retryAt}`;
    const state = this.#singly.stored.get(entry.key) ?? '';
    const early = restsBy(state, retryAt - 1) ? passingOracle(call, state, retryAt - 1) : 1;
    this.#counts.retries += 1;
    for (const [at, wait] of [
      [retryAt - 1, early],
      [retryAt, 0],
    ] as const) {
      const table = new MapTable(new Map(state === '' ? [] : [[entry.key, state]]));
      const reply = decide([entry], at, table).slice(1);
      this.#agree(`${what}, TypeScript`, [wait], [passing(entry, reply)]);
      this.#agree(`${what}, oracle`, [wait], [passingOracle(call, state, at)]);
    }
    // Equal refusals of one turn would be shown by the server again and again.
    const name = `${ask.verb} ${ask.cost} ${retryAt} ${state} ${entry.shape.args.join(' ')}`;
    if (probed.has(name)) {
      return;
    }
    probed.add(name);
    this.#counts.retriesOnServer += 1;
    this.#probes += 1;
    const aside = { key: `probe:${this.#name}:${this.#probes}`, shape: entry.shape };
    const grouping = groupedOneByOne([aside]);
    for (const [at, wait] of [
      [retryAt - 1, early],
      [retryAt, 0],
    ] as const) {
      this.#answers.add(this.#lua.put(new Map([[aside.key, state]])));
      this.#answers.add(this.#lua.decideAside(grouping, at), (reply) => {
        this.#agree(`${what}, Lua`, [wait], [passing(entry, reply.slice(1))]);
      });
    }
  }

  #countPath({ keys, args }: Grouping): void {
    const counts = this.#counts;
    counts.scriptCalls += 1;
    if (args[0] === 'home') {
      counts.home += 1;
      counts.homeSeveral += args[6] === '1' ? 0 : 1;
      return;
    }
    if (args.length > 1) {
      counts.driver += 1;
      return;
    }
    const numbers = args[0]!.split(' ').map(Number);
    const [n, , , , ceiling] = numbers as [number, number, number, number, number];
    const left = keys.findIndex((key) => {
      const value = this.#table.stored.get(key) ?? '0';
      const [, tat, rem, of] = /^(\d+)(?::(\d+):(\d+))?$/.exec(value) ?? [];
      const plain = rem === undefined || (Number(of) === n && Number(rem) < n);
      return !plain || !(Number(tat) < this.#now + ceiling + JITTER);
    });
    counts.lone += 1;
    counts.loneLeft += left === 0 ? 1 : 0;
    counts.loneLeftInTheMiddle += left > 0 ? 1 : 0;
    counts.loneSeveral += numbers.at(-1)! > 1 ? 1 : 0;
    counts.loneFractions += n > 1 ? 1 : 0;
  }

  #count({ ask, entry: { key } }: Asked, seen: Set<string>): void {
    const counts = this.#counts;
    counts.peeked += ask.verb === 'peek' ? 1 : 0;
    counts.reset += ask.verb === 'reset' ? 1 : 0;
    counts.underSeveral += ask.by.length > 1 ? 1 : 0;
    counts.repeated += seen.has(key) ? 1 : 0;
    seen.add(key);
  }

  #agree(what: string, mine: readonly unknown[], other: readonly unknown[]): void {
    for (let i = 0; i < Math.max(mine.length, other.length); i++) {
      if (mine[i] !== other[i]) {
        const where = `${this.#name}, turn ${this.#turn}, at ${this.#now}`;
        throw new Error(`${where}: ${what}, place ${i}: ${show(mine[i])} and ${show(other[i])}`);
      }
    }
  }
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

/** Whether all lines of some state of several lines in a home rest at this time. */
function restsBy(home: string, at: number): boolean {
  return [...home.matchAll(/(\d+):v1:/g)].some(([, rests]) => Number(rests) <= at);
}

/** The wait that an answer tells of, in µs; 0 where it passes. */
function passing(entry: Entry, answer: Reply): number {
  return longestWait(readVerdicts(entry.shape, answer as readonly number[], 0));
}

function passingOracle(call: OracleCall, state: string, at: number): number {
  const oracle = new Oracle(false);
  if (state !== '') {
    oracle.stored.set(call.rules[0]!.home, { value: state, expiresAt: undefined });
  }
  const [answer] = oracle.decide([call], BigInt(at)).answers;
  return Array.isArray(answer) ? longestWait(answer.map(asVerdict)) : Number.NaN;
}

function longestWait(verdicts: readonly Verdict[]): number {
  return Math.max(...verdicts.map(({ refused, retryUs }) => (refused ? retryUs : 0)));
}

function numbersOf({ refused, remaining, over, resetUs, retryUs }: Verdict): unknown[] {
  return [refused, remaining, over, resetUs, retryUs];
}

function asVerdict({ refused, remaining, over, resetUs, retryUs }: OracleVerdict): Verdict {
  return {
    refused,
    remaining: Number(remaining),
    over: Number(over),
    resetUs: Number(resetUs),
    retryUs: Number(retryUs),
  };
}

function asWrites(writes: ReadonlyMap<string, OracleWrite>): Write[] {
  return [...writes].map(([key, write]) => writeOf(key, write)).sort();
}

function inPieces<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
    all.slice(i * size, (i + 1) * size),
  );
}
