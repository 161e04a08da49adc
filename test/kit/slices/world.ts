import type { Decision } from '../../../src/base/decision.ts';
import type { Limit } from '../../../src/algorithms/limit.ts';
import type { Micros } from '../../../src/algorithms/recovery.ts';
import type { Asked, UnitsByName } from '../../../src/limiter/cost.ts';
import { askedOf } from '../../../src/limiter/limit-units.ts';
import type { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { LocalDecision } from '../../../src/limiter/prepay.ts';
import type { Entry } from '../../../src/script/call-shape.ts';
import { Random } from '../random.mjs';
import { MapTable } from '../twins/map-table.ts';
import type { SliceEngine } from './engine.ts';
import { Node, START } from './process.ts';
import type { NodeSpec } from './process.ts';

const MS = 1_000;
const SECOND = 1_000_000;
const BURSTS_EVERY = 400 * MS;

export interface WorldSpec {
  readonly limits: readonly Limit[];
  /** What calls ask where limits have units: each call one of these. */
  readonly costs?: readonly UnitsByName[];
  readonly nodes: readonly NodeSpec[];
  readonly lastsUs: number;
  readonly aheadMs: number;
  readonly holdMs: number | undefined;
  /** Of 100 calls, how many requests and replies are lost, or sent twice. */
  readonly lost: number;
  readonly twice: number;
  /** Of 100 calls that passed, how many are refunded within 300 ms. */
  readonly refunded: number;
  /** When another process resets the identity, in microseconds after the start. */
  readonly resetsAt?: readonly number[];
  /** When another process blocks the identity for good. */
  readonly blockedAt?: number | undefined;
  /** Steps of the server's clock: when, in microseconds after the start, and by how much. */
  readonly steps?: readonly { readonly at: number; readonly us: number }[];
}

/** Units that passed. */
export interface Passed {
  /** The true time. */
  readonly at: number;
  /** By limit of the processes; of a plan its only one. */
  readonly asks: readonly number[];
  /** Under the first limit that the call asks. */
  readonly units: number;
  readonly isLocal: boolean;
  /** Whether it passed under a limit of its own. */
  readonly isPlan: boolean;
  /** Of units of a slice: where they lie on the line of the first limit. */
  readonly mark?: Micros | undefined;
  /** What the server's clock showed. */
  readonly shown: number;
  /** Whether the server's clock had stepped, and the process had not heard from it since. */
  readonly isLate: boolean;
  /** Whether they were given back later. */
  refundedAt: number;
}

export interface Outcome {
  readonly passed: readonly Passed[];
  readonly asked: number;
  /** Calls that reached the server. */
  readonly calls: number;
  readonly grants: number;
  readonly localRefusals: number;
  /** Calls that asked for a slice and were refused, where a call that asks for none would have passed. */
  readonly worseOff: number;
  /** Per process: units that passed. */
  readonly byNode: readonly number[];
  readonly stored: ReadonlyMap<string, string>;
}

/** A call of a process. */
interface Call {
  /** The identity's within the process, and what kind of calls it is for. */
  readonly name: string;
  /** In units of a slice. */
  readonly units: number;
  readonly asked: Asked;
}

interface Event {
  readonly at: number;
  readonly order: number;
  run(): void;
}

/** Processes with clocks and ways of their own around one server, in simulated time. */
export class World {
  readonly #engine: SliceEngine;
  readonly #random: Random;
  readonly #spec: WorldSpec;
  readonly #set: LimitSet;
  readonly #table = new MapTable();
  readonly #events: Event[] = [];
  readonly #passed: Passed[] = [];
  readonly #nodes: readonly Node[];
  readonly #ends: number;
  #order = 0;
  #now = START;
  #asked = 0;
  #calls = 0;
  #grants = 0;
  #localRefusals = 0;
  #worseOff = 0;

  constructor(engine: SliceEngine, random: Random, spec: WorldSpec) {
    this.#engine = engine;
    this.#random = random;
    this.#spec = spec;
    this.#set = new engine.LimitSet('w', spec.limits, spec.blockedAt !== undefined);
    this.#ends = START + spec.lastsUs;
    const { aheadMs, holdMs } = spec;
    this.#nodes = spec.nodes.map(
      (node) =>
        new Node(
          engine,
          node,
          node.plan === undefined
            ? this.#set
            : new engine.LimitSet('w', [node.plan], spec.blockedAt !== undefined, {
                own: this.#set,
              }),
          node.prepay && node.plan === undefined
            ? new engine.Prepay(this.#set, { holdMs, aheadMs, maxIdentities: 100 })
            : undefined,
          {
            offset: random.int(0, 10 * SECOND),
            traffic: new Random(random.int(0, 1e9)),
            now: () => this.#now,
          },
        ),
    );
  }

  run(): Outcome {
    for (const node of this.#nodes) {
      this.#nextArrival(node);
    }
    for (const at of this.#spec.resetsAt ?? []) {
      this.#at(START + at, () => {
        const entry: Entry = { key: 'K', shape: this.#set.shape('reset', 1) };
        this.#engine.decide([entry], this.#shown(), this.#table);
      });
    }
    if (this.#spec.blockedAt !== undefined) {
      this.#at(START + this.#spec.blockedAt, () => {
        const entry: Entry = { key: 'K', shape: this.#engine.blockShape('penalize', 3_600_000) };
        this.#engine.decide([entry], this.#shown(), this.#table);
      });
    }
    for (let event = this.#take(); event !== undefined; event = this.#take()) {
      this.#now = event.at;
      event.run();
    }
    return {
      passed: this.#passed,
      asked: this.#asked,
      calls: this.#calls,
      grants: this.#grants,
      localRefusals: this.#localRefusals,
      worseOff: this.#worseOff,
      byNode: this.#nodes.map(({ units }) => units),
      stored: this.#table.stored,
    };
  }

  /** A heap by time. */
  #at(at: number, run: () => void): void {
    const events = this.#events;
    const event = { at, order: this.#order++, run };
    let i = events.push(event) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!isBefore(event, events[up]!)) {
        break;
      }
      events[i] = events[up]!;
      events[up] = event;
      i = up;
    }
  }

  #take(): Event | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (first === undefined || events.length === 0) {
      return first;
    }
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      const right = left + 1;
      const least = right < events.length && isBefore(events[right]!, events[left]!) ? right : left;
      if (least >= events.length || !isBefore(events[least]!, last!)) {
        break;
      }
      events[i] = events[least]!;
      i = least;
    }
    events[i] = last!;
    return first;
  }

  #nextArrival(node: Node): void {
    const busy = node.spec.rate * (node.spec.bursts ? 5 : 1);
    const gap = (-Math.log(1 - node.traffic.int(0, 999_999) / 1e6) * SECOND) / busy;
    let at = this.#now + Math.ceil(gap);
    if (node.spec.bursts && at % BURSTS_EVERY > BURSTS_EVERY / 5) {
      at += BURSTS_EVERY - (at % BURSTS_EVERY);
    }
    if (at < this.#ends && at - START < node.spec.diesAt) {
      this.#at(node.runsFrom(at), () => {
        this.#arrive(node);
        this.#nextArrival(node);
      });
    }
  }

  #arrive(node: Node): void {
    const call = this.#callOf(node);
    const { name, units, asked } = call;
    this.#asked += this.#asksOf(node, asked).find((ask) => ask > 0)!;
    const own = node.anchors.check();
    const local = node.prepay?.decide(name, units, own, asked);
    if (local !== undefined) {
      if (local.decision.allowed) {
        const [int, rem] = local.spent!.marks as [number, number];
        const passed = this.#pass(node, asked, this.#now, { int, rem });
        this.#maybeRefund(passed, () => giveBack(local));
      } else {
        this.#localRefusals += 1;
      }
      return;
    }
    const plain: Entry = { key: 'K', shape: node.set.shape('allow', asked) };
    const entry = node.prepay?.ask(name, units, plain, own, asked) ?? plain;
    this.#send(node, entry, call, own);
  }

  #callOf({ traffic, spec }: Node): Call {
    const { costs } = this.#spec;
    if (costs === undefined) {
      const units = traffic.int(1, spec.mostCost);
      return { name: 'id', units, asked: units };
    }
    const asked = new this.#engine.NamedCost(traffic.pick(costs));
    const { kind, units } = this.#engine.sliceCostOf(this.#set.limits, asked);
    return { name: `id\0${kind}`, units, asked };
  }

  /** Units by limit. */
  #asksOf({ set }: Node, asked: Asked): readonly number[] {
    return set.limits.map((limit) => askedOf(limit, asked) ?? 0);
  }

  #send(node: Node, entry: Entry, call: Call, sentOwn: number): void {
    const random = this.#random;
    this.#grants += entry.shape.verb === 'grant' ? 1 : 0;
    const isAnswered = !random.chance(this.#spec.lost);
    const copies = random.chance(this.#spec.twice) ? 2 : 1;
    const timeout = this.#now + 1_000 * MS;
    let at = this.#now;
    for (let copy = 1; copy <= copies; copy++) {
      at += random.int(...node.spec.wayUs);
      const isLast = copy === copies;
      this.#at(at, () => {
        this.#calls += 1;
        const now = this.#now;
        const wouldPass = entry.shape.verb === 'grant' && this.#wouldPass(node, call.asked);
        const reply = this.#engine.decide([entry], this.#shown(), this.#table) as number[];
        this.#worseOff += wouldPass && this.#refuses(entry, reply) ? 1 : 0;
        if (isLast && isAnswered) {
          const back = node.runsFrom(now + random.int(...node.spec.wayUs));
          this.#at(back, () => this.#hear(node, entry, call, reply, sentOwn, now));
        }
      });
    }
    if (!isAnswered) {
      this.#at(timeout, () => node.prepay?.failed(call.name, entry));
    }
  }

  /** What the server's clock shows. */
  #shown(): number {
    const { steps = [] } = this.#spec;
    return steps.reduce(
      (time, { at, us }) => (START + at <= this.#now ? time + us : time),
      this.#now,
    );
  }

  /** Whether a call that asks for no slice would pass at this moment. */
  #wouldPass(node: Node, asked: Asked): boolean {
    const entry: Entry = { key: 'K', shape: node.set.shape('allow', asked) };
    const table = new MapTable(new Map(this.#table.stored));
    return !this.#refuses(entry, this.#engine.decide([entry], this.#shown(), table) as number[]);
  }

  #refuses({ shape }: Entry, reply: readonly number[]): boolean {
    return this.#engine.readVerdicts(shape, reply, 1).some(({ refused }) => refused);
  }

  #hear(
    node: Node,
    entry: Entry,
    { name, asked }: Call,
    reply: readonly number[],
    sentOwn: number,
    decidedAt: number,
  ): void {
    if (node.isDead(this.#now)) {
      return;
    }
    const { makeDecision, readVerdicts, readMarks, makeShape } = this.#engine;
    const { shape } = entry;
    const decision: Decision = makeDecision(
      shape,
      shape.cost,
      readVerdicts(shape, reply, 1),
      reply[0]!,
      0,
    );
    node.anchors.heard('server', reply[0]!, sentOwn);
    node.heardOf = Math.max(node.heardOf, decidedAt);
    node.prepay?.answered(name, entry, decision, reply, 1, node.anchors.current);
    if (decision.allowed) {
      const passed = this.#pass(node, asked, decidedAt);
      this.#maybeRefund(passed, () => {
        const marks = readMarks(shape, reply, 1);
        const rules = shape.rules.map((rule) => ({
          ...rule,
          plan: rule.limit.twin.price(rule.plan, 1),
        }));
        const refund = { key: 'K', shape: makeShape('refund', shape.units, rules), details: marks };
        this.#engine.decide([refund], this.#shown(), this.#table);
      });
    }
  }

  /** `mark`: of a unit of a slice, which passes now. */
  #pass(node: Node, asked: Asked, at: number, mark?: Micros): Passed {
    const asks = this.#asksOf(node, asked);
    const units = asks.find((ask) => ask > 0)!;
    const isLocal = mark !== undefined;
    const { steps = [] } = this.#spec;
    const stepped = Math.max(
      ...steps.map((step) => START + step.at).filter((step) => step <= this.#now),
    );
    const passed = {
      at,
      asks,
      units,
      isLocal,
      isPlan: node.spec.plan !== undefined,
      mark,
      shown: this.#shown(),
      isLate: isLocal && node.heardOf < stepped,
      refundedAt: Infinity,
    };
    this.#passed.push(passed);
    node.units += units;
    return passed;
  }

  #maybeRefund(passed: Passed, refund: () => void): void {
    if (this.#random.chance(this.#spec.refunded)) {
      this.#at(this.#now + this.#random.int(0, 300 * MS), () => {
        refund();
        passed.refundedAt = this.#now;
      });
    }
  }
}

function giveBack({ spent }: LocalDecision): void {
  spent!.slice.giveBack(spent!.units, spent!.marks);
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * The most units that passed beyond `burst + rate · Δ` in any time Δ, in exact integers; what was given back counts until
 * it was.
 */
export function mostOver(
  passed: readonly Pick<Passed, 'at' | 'units'>[],
  { p, n, burst }: { readonly p: bigint; readonly n: bigint; readonly burst: bigint },
): number {
  // A bucket that starts full: how far a charge overdraws it is the most by which any time up to it is over.
  let tat = 0n;
  let most = 0n;
  for (const { at, units } of passed.toSorted((a, b) => a.at - b.at)) {
    const now = BigInt(at) * n;
    tat = (tat < now ? now : tat) + BigInt(units) * p;
    const over = tat - now - burst * p;
    most = over > most ? over : most;
  }
  return Number(most) / Number(p);
}
