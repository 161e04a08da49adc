import { describe, expect, test } from 'vitest';
import { tokenBucket } from 'distributed-rate-limiter';
import { LimitSet } from '../../../src/limiter/limit-set.ts';
import { makeDecision } from '../../../src/limiter/make-decision.ts';
import { Prepay } from '../../../src/limiter/prepay.ts';
import type { LocalDecision } from '../../../src/limiter/prepay.ts';
import { grantDetails, makeShape, SLICES } from '../../../src/script/call-shape.ts';
import type { Entry, Verb } from '../../../src/script/call-shape.ts';
import { decide } from '../../../src/script/decide.ts';
import { readMarks, readVerdicts } from '../../../src/script/read-answer.ts';
import { ClockAnchor } from '../../../src/stores/clock-anchor.ts';
import { MapTable } from '../../kit/twins/map-table.ts';

const MS = 1_000;
const START = 1_800_000_000_000_000;

/** 100 a second, 100 at once. */
function setOf(): LimitSet {
  return new LimitSet('s', [tokenBucket({ rate: 100, period: 1 })], false);
}

function grant(set: LimitSet, want: number, holdMs: number, aheadMs: number, process = 'p'): Entry {
  const details = grantDetails(process, want, holdMs * MS, aheadMs * MS);
  return { key: 'K', shape: set.shape('grant', 1), record: SLICES, details };
}

function run(entry: Entry, now: number, table: MapTable): number[] {
  return decide([entry], now, table) as number[];
}

function plain(set: LimitSet, verb: Verb, cost = 1): Entry {
  return { key: 'K', shape: set.shape(verb, cost) };
}

function refundOf(entry: Entry, reply: readonly number[]): Entry {
  const rules = entry.shape.rules.map((rule) => ({
    ...rule,
    plan: rule.limit.twin.price(rule.plan, 1),
  }));
  const details = readMarks(entry.shape, reply, 1);
  return { key: 'K', shape: makeShape('refund', entry.shape.units, rules), details };
}

function tatOf(table: MapTable): number {
  const value = table.stored.get('K')!;
  const long = /^\d+:v1:(\d+):(\d+)/.exec(value);
  return long === null ? Number.parseInt(value, 10) : Number(long[1]) + Number(long[2]);
}

describe('a slice in the store', () => {
  test('is charged behind all charges, and not before the time for which it is held', () => {
    const [set, table] = [setOf(), new MapTable()];
    const reply = run(grant(set, 10, 100, 0), START, table);
    // 1 unit passes, 10 units begin 100 ms ahead and take 100 ms; the slice ends after 100 ms.
    expect(reply.slice(1)).toEqual([10, 100 * MS, 100 * MS, 0, 10 * MS]);
    expect(tatOf(table)).toBe(START + 200 * MS);
    run(plain(set, 'allow', 20), START, table);
    const next = run(grant(set, 10, 100, 0), START, table);
    expect(next.slice(1, 5)).toEqual([10, 100 * MS, 410 * MS, 0]);
  });

  test('takes at most an equal share of half of what is left', () => {
    const [set, table] = [setOf(), new MapTable()];
    // Of 100 units 90 are left behind the time of holding.
    expect(run(grant(set, 1_000, 100, 0, 'a'), START, table)[1]).toBe(20); // as many as recover in twice that time
    run(plain(set, 'allow', 40), START, table);
    // 29 units are left; two processes hold slices.
    expect(run(grant(set, 1_000, 100, 0, 'b'), START, table)[1]).toBe(7);
  });

  test('is not given where units are held for longer than a quarter of the burst recovers', () => {
    const [set, table] = [setOf(), new MapTable()];
    expect(run(grant(set, 10, 251, 300), START, table)[1]).toBe(0);
    expect(run(grant(set, 10, 250, 300), START, table)[1]).toBe(10);
  });

  test('is a turn in the future where the burst is spent', () => {
    const [set, table] = [setOf(), new MapTable()];
    run(plain(set, 'allow', 100), START, table);
    expect(run(grant(set, 10, 100, 0), START, table)[1]).toBe(0);
    const reply = run(grant(set, 10, 100, 300), START, table);
    expect(reply.slice(1)).toEqual([10, 400 * MS, 1_000 * MS, 0, -1 - 1_000 * MS]);
  });

  test('keeps a refund of an older charge from reaching below it while it may be spent', () => {
    const [set, table] = [setOf(), new MapTable()];
    const older = plain(set, 'allow', 30);
    const reply = run(older, START, table);
    run(grant(set, 10, 100, 0), START, table);
    const before = tatOf(table);
    run(refundOf(older, reply), START + 50 * MS, table);
    expect(tatOf(table)).toBe(before);
    run(refundOf(older, reply), START + 100 * MS, table);
    expect(tatOf(table)).toBe(before - 200 * MS); // what had not recovered
  });

  test('lets a refund of a later charge give back that charge alone', () => {
    const [set, table] = [setOf(), new MapTable()];
    run(grant(set, 10, 100, 0), START, table);
    const before = tatOf(table);
    const later = plain(set, 'allow', 5);
    const reply = run(later, START, table);
    run(plain(set, 'credit', 50), START, table);
    expect(tatOf(table)).toBe(before);
    run(refundOf(later, reply), START, table);
    expect(tatOf(table)).toBe(before);
  });

  test('leaves a plain state behind once it has ended', () => {
    const [set, table] = [setOf(), new MapTable()];
    run(grant(set, 10, 100, 0), START, table);
    expect(table.stored.get('K')).toMatch(/^\d{16}:0:1:\d{16}:\d{16}$/);
    run(plain(set, 'allow'), START + 101 * MS, table);
    expect(table.stored.get('K')).toMatch(/^\d{16}$/);
  });
});

/** A process whose clock shows 0 at START, and whose calls are answered at once. */
class Process {
  readonly prepay: Prepay;
  readonly set = setOf();
  readonly table = new MapTable();
  asked = 0;

  constructor(aheadMs = 0) {
    const options = { holdMs: undefined, aheadMs, maxIdentities: 10 };
    this.prepay = new Prepay(this.set, options);
  }

  /** Decides a call; asks the store if no slice does. */
  allow(id: string, ms: number, cost = 1): LocalDecision | undefined {
    const own = ms * MS;
    const local = this.prepay.decide(id, cost, own);
    if (local === undefined) {
      this.asked += 1;
      const entry = this.prepay.ask(id, cost, plain(this.set, 'allow', cost), own);
      const reply = run(entry, START + own, this.table);
      const verdicts = readVerdicts(entry.shape, reply, 1);
      const decision = makeDecision(entry.shape, cost, verdicts, reply[0]!, 0);
      const anchor = new ClockAnchor(reply[0]!, own, own);
      this.prepay.answered(id, entry, decision, reply, 1, anchor);
    }
    return local;
  }

  /** Makes an identity busy enough, until it has a slice. */
  warm(id: string, from = 0): void {
    for (let i = 0; i < 20 && this.allow(id, from + i) === undefined; i++) {
      // Asks.
    }
  }
}

describe('a process with slices', () => {
  test('takes no slice that it had asked for before it reset the identity', () => {
    for (const resets of [false, true]) {
      const process = new Process();
      const asks = (ms: number): Entry => {
        const entry = plain(process.set, 'allow');
        process.prepay.decide('id', 1, ms * MS);
        return process.prepay.ask('id', 1, entry, ms * MS);
      };
      const hear = (entry: Entry, ms: number): void => {
        const reply = run(entry, START + ms * MS, process.table);
        const verdicts = readVerdicts(entry.shape, reply, 1);
        const decision = makeDecision(entry.shape, 1, verdicts, reply[0]!, 0);
        const anchor = new ClockAnchor(reply[0]!, ms * MS, ms * MS);
        process.prepay.answered('id', entry, decision, reply, 1, anchor);
      };
      let [ms, entry] = [0, asks(0)];
      for (; entry.shape.verb !== 'grant'; entry = asks(ms)) {
        hear(entry, ms++);
      }
      if (resets) {
        process.prepay.submitted(plain(process.set, 'reset'));
      }
      hear(entry, ms);
      expect(process.prepay.decide('id', 1, ms * MS) === undefined).toBe(resets);
    }
  });

  test('asks for an identity with few calls, and spends for one with many', () => {
    const process = new Process();
    for (let i = 0; i < 30; i++) {
      process.allow('quiet', i * 200);
    }
    expect(process.asked).toBe(30);
    process.warm('busy', 6_000);
    expect(process.allow('busy', 6_025)?.decision).toMatchObject({
      allowed: true,
      source: 'slice',
    });
  });

  test('decides with the facts of the limit, and with what is left here and in the store', () => {
    const process = new Process();
    process.warm('id');
    const { decision } = process.allow('id', 20)!;
    expect(decision).toMatchObject({ limitName: 'default', limit: 100, cost: 1, limits: [{}] });
    const { remaining } = decision as { remaining: number };
    expect(process.allow('id', 20)!.decision).toMatchObject({ remaining: remaining - 1 });
  });

  test('spends a refunded unit again, but not once its interval has begun', () => {
    const process = new Process();
    process.warm('id');
    const first = process.allow('id', 20)!;
    const second = process.allow('id', 20)!;
    const marks = second.spent!.marks;
    first.spent!.slice.giveBack(1, first.spent!.marks);
    second.spent!.slice.giveBack(1, marks);
    const again = [process.allow('id', 20)!, process.allow('id', 20)!];
    const spent = again.map((local) => local.spent!.marks[0]!).toSorted((a, b) => a - b);
    expect(spent).toEqual([first.spent!.marks[0]!, marks[0]!].toSorted((a, b) => a - b));
    const { slice } = again[0]!.spent!;
    const third = process.allow('id', 20)!; // so that the returned unit is not the last one
    slice.giveBack(1, first.spent!.marks);
    const late = process.allow('id', 120);
    expect(late?.spent?.marks[0] ?? Infinity).toBeGreaterThan(third.spent!.marks[0]!);
  });

  test.each(['reset', 'penalize', 'credit'] as const)(
    'drops the slices of an identity before its own %s',
    (verb) => {
      const process = new Process();
      process.warm('id');
      process.prepay.submitted(plain(process.set, verb));
      expect(process.prepay.decide('id', 1, 25 * MS)).toBeUndefined();
    },
  );

  test('drops all slices when a clock has stepped', () => {
    const process = new Process();
    process.warm('id');
    process.prepay.forget();
    expect(process.prepay.decide('id', 1, 25 * MS)).toBeUndefined();
  });

  test('refuses by itself until its turn comes, and says when', () => {
    const process = new Process(300);
    for (let i = 0; i < 150; i++) {
      process.allow('id', i / 2);
    }
    const refused = process.allow('id', 76)!;
    expect(refused.decision).toMatchObject({ allowed: false, reason: 'limited', source: 'slice' });
    const { retryAfterMs } = refused.decision as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(process.allow('id', 76 + retryAfterMs - 3)?.decision.allowed).not.toBe(true);
    expect(process.allow('id', 76 + retryAfterMs)!.decision.allowed).toBe(true);
  });

  test('remembers a bounded number of identities', () => {
    const process = new Process();
    for (let i = 0; i < 50; i++) {
      process.warm(`id${i}`);
    }
    const busy = Array.from({ length: 50 }, (_, i) => process.prepay.decide(`id${i}`, 1, 30 * MS));
    expect(busy.filter((local) => local !== undefined).length).toBeLessThanOrEqual(10);
  });
});
