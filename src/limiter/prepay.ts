import { randomBytes } from 'node:crypto';
import { LONGEST_SLICE_US } from '../algorithms/limit.ts';
import type { Decision } from '../base/decision.ts';
import { grantDetails, SLICES } from '../script/call-shape.ts';
import type { Entry, Shape, Verb } from '../script/call-shape.ts';
import { readVerdicts } from '../script/read-answer.ts';
import type { ClockAnchor } from '../stores/clock-anchor.ts';
import { unitOf } from './cost.ts';
import type { Asked } from './cost.ts';
import { makeDecision } from './make-decision.ts';
import type { LimitSet } from './limit-set.ts';
import type { PrepaySettings } from './prepay-options.ts';
import { Slice } from './slice.ts';

/** An identity with this many calls within the time that units are held is given slices. */
const BUSY = 4;
/** An estimate of traffic follows it within this time, in microseconds. */
const FOLLOW_US = 100_000;
/** Round trips of which the second longest counts as the usual. */
const KEPT_TRIPS = 20;
const MOST_HELD_MS = 500;
/** Windows that are held for less ask the store for each call. */
const LEAST_WINDOW_HELD_MS = 10;
/** Most slices of one identity at a time. */
const MAX_SLICES = 4;
/** Calls that this process must expect while a turn can be spent; with fewer, too many turns would lapse. */
const CALLS_PER_TURN = 4;

/** Verbs after which the units that were paid for before are no longer this process's to spend. */
const FORGETTING: ReadonlySet<Verb> = new Set<Verb>(['reset', 'penalize', 'credit']);

/** What this process knows of an identity that is given slices. */
interface Busy {
  /** Its key in the store, once it has asked for a slice. */
  key: string | undefined;
  slices: Slice[];
  /** The details of the call under way that asks for a slice, which it is still to take; undefined for none. */
  asking: readonly string[] | undefined;
  /** Units and calls since `since`. */
  asked: number;
  calls: number;
  since: number;
  /** Units and calls per microsecond before. */
  rate: number;
  callRate: number;
  lastWant: number;
  /** When the store last refused it. */
  refusedAt: number;
  usedAt: number;
}

/** Says where and when a cost was spent, for a refund. */
export interface Spent {
  /** The identity's key in the store. */
  readonly key: string;
  readonly slice: Slice;
  readonly marks: readonly number[];
  /** In units of the slice. */
  readonly units: number;
  readonly cost: Asked;
}

/** A decision from a slice, with what was spent if it let its call pass. */
export interface LocalDecision {
  readonly decision: Decision;
  readonly spent: Spent | undefined;
  readonly shape: Shape;
}

/**
 * Decides calls from units that the store has charged this process for beforehand. Each of these units was charged once,
 * and is spent by the same step that would have let it pass in the store, so the limit holds exactly. Knows the
 * identities that are worth it: those that are busy here, and those that were refused here.
 */
export class Prepay {
  /** Names this process in the store's list of those that hold slices. */
  readonly #process = randomBytes(6).toString('base64url');
  readonly #limits: LimitSet;
  readonly #options: PrepaySettings;
  readonly #holdUs: number;
  readonly #aheadUs: number;
  /** By the identity's name within this process. */
  readonly #busy = new Map<string, Busy>();
  /** Calls by the same name since `#countedSince`. */
  readonly #calls = new Map<string, number>();
  #countedSince = 0;
  readonly #trips: number[] = [];
  #usualTripUs = 0;
  /** Whether enough trips were measured. As long as they are too long for slices, all of them are. */
  #knowsTrips = false;

  constructor(limits: LimitSet, options: PrepaySettings) {
    this.#limits = limits;
    this.#options = options;
    this.#holdUs = heldUs(limits, options);
    // Where limits count several units, a turn of one kind of calls would keep back those of the others.
    this.#aheadUs = new Set(limits.limits.map(unitOf)).size > 1 ? 0 : options.aheadMs * 1_000;
  }

  /** Forgets all slices: the clocks that they rest on have stepped. */
  forget(): void {
    for (const busy of this.#busy.values()) {
      busy.slices = [];
    }
  }

  /** Forgets the slices of an identity whose state this process changes by another verb than a call's. */
  submitted({ key, shape: { verb } }: Pick<Entry, 'key' | 'shape'>): void {
    if (FORGETTING.has(verb)) {
      for (const busy of this.#busy.values()) {
        if (busy.key === key) {
          busy.slices = [];
          busy.asking = undefined;
        }
      }
    }
  }

  /**
   * Decides a call at `own` of the process's clock; undefined if the store has to be asked.
   *
   * @param name the identity's within this process, and what kind of calls it is for
   * @param units of a slice that the call's cost is
   * @param cost if it is by name
   */
  decide(name: string, units: number, own: number, cost: Asked = units): LocalDecision | undefined {
    const busy = this.#busy.get(name);
    if (busy === undefined) {
      return undefined;
    }
    busy.usedAt = own;
    busy.asked += units;
    busy.calls += 1;
    const { slices } = busy;
    let waits = Infinity;
    let waiting: Slice | undefined;
    for (let i = 0; i < slices.length; i++) {
      const slice = slices[i]!;
      const waitUs = slice.spend(units, own);
      if (waitUs === 0) {
        return this.#local(busy, slice, cost, units);
      }
      if (waitUs < waits) {
        waits = waitUs;
        waiting = slice;
      } else if (waitUs === Infinity && slice.hasEnded(own)) {
        slices.splice(i, 1);
        i -= 1;
      }
    }
    return waiting === undefined ? undefined : this.#local(busy, waiting, cost, 0);
  }

  /** `units`: those that it spends; 0 for a refusal. */
  #local({ key }: Busy, slice: Slice, cost: Asked, units: number): LocalDecision {
    const shape = this.#limits.shape('allow', cost);
    const decision = makeDecision(shape, shape.cost, slice.verdicts(), slice.now, 0, 'slice');
    return {
      decision,
      spent: units > 0 ? { key: key!, slice, marks: slice.marks(), units, cost } : undefined,
      shape,
    };
  }

  /** The call by which the store is asked: for a slice as well, if the identity is busy enough for one. */
  ask(name: string, units: number, entry: Entry, own: number, cost: Asked = units): Entry {
    if (this.#holdUs === 0) {
      return entry;
    }
    const busy = this.#busy.get(name) ?? this.#count(name, own);
    if (busy === undefined || busy.asking !== undefined || busy.slices.length >= MAX_SLICES) {
      return entry;
    }
    if (this.#trips.length === 0) {
      return entry; // how long units must be held is not known yet
    }
    const holdUs = this.#heldUs();
    if (this.#isTooFar(holdUs)) {
      return entry;
    }
    const want = this.#wanted(busy, units, holdUs, own);
    if (want < BUSY * units && own - busy.refusedAt > 2 * holdUs) {
      return entry;
    }
    const aheadUs = this.#turnUs(busy, units, entry.shape, holdUs);
    busy.key = entry.key;
    busy.asking = grantDetails(this.#process, want, holdUs, aheadUs);
    busy.lastWant = want;
    return {
      ...entry,
      shape: this.#limits.shape('grant', cost),
      record: SLICES,
      details: busy.asking,
    };
  }

  /**
   * Takes the answer to a call, which was sent at `anchor.sent`; the anchor is missing after a clock step. Returns the
   * units that the store charged this process for.
   */
  answered(
    name: string,
    { shape, record, details }: Entry,
    decision: Decision,
    reply: readonly number[],
    at: number,
    anchor: ClockAnchor | undefined,
  ): number {
    const isGrant = record === SLICES;
    if (anchor !== undefined && (isGrant || !this.#knowsTrips)) {
      this.#noteTrip(anchor.heard - anchor.sent);
    }
    const isRefused = decision.reason === 'limited' && this.#holdUs > 0;
    if (!isGrant && !isRefused) {
      return 0;
    }
    let busy = this.#busy.get(name);
    if (isRefused) {
      busy ??= this.#promote(name, anchor?.heard ?? 0);
      if (busy !== undefined && anchor !== undefined) {
        busy.refusedAt = anchor.heard;
      }
    }
    const units = isGrant ? reply[at]! : 0;
    if (details !== undefined && busy?.asking === details) {
      busy.asking = undefined;
      if (anchor !== undefined && units > 0) {
        const verdicts = readVerdicts(shape, reply, at);
        busy.slices.push(new Slice(shape, units, reply, at, verdicts, anchor));
      }
    }
    return units;
  }

  /** Notes that a call that asked was not answered. What it may have been given is lost. */
  failed(name: string, { details }: Entry): void {
    const busy = this.#busy.get(name);
    if (details !== undefined && busy?.asking === details) {
      busy.asking = undefined;
    }
  }

  /** Counts a call of an identity that is given no slices yet; returns it if it is busy from now on. */
  #count(name: string, own: number): Busy | undefined {
    if (own - this.#countedSince > this.#holdUs || own < this.#countedSince) {
      this.#calls.clear();
      this.#countedSince = own;
    }
    const calls = (this.#calls.get(name) ?? 0) + 1;
    if (calls < BUSY) {
      if (this.#calls.size < 4 * this.#options.maxIdentities || calls > 1) {
        this.#calls.set(name, calls);
      }
      return undefined;
    }
    this.#calls.delete(name);
    return this.#promote(name, own, calls);
  }

  /** Undefined if there is no room for another identity. */
  #promote(name: string, own: number, calls = 1): Busy | undefined {
    if (this.#busy.size >= this.#options.maxIdentities) {
      const [oldest, its] = this.#busy.entries().next().value!;
      // The one that was added first makes room if it is idle, else it goes to the end of the line.
      this.#busy.delete(oldest);
      if (own - its.usedAt < 2 * this.#holdUs) {
        this.#busy.set(oldest, its);
        return undefined;
      }
    }
    const busy: Busy = {
      key: undefined,
      slices: [],
      asking: undefined,
      asked: calls,
      calls,
      since: own - FOLLOW_US,
      rate: 0,
      callRate: 0,
      lastWant: BUSY,
      refusedAt: Number.NEGATIVE_INFINITY,
      usedAt: own,
    };
    this.#busy.set(name, busy);
    return busy;
  }

  /** Units that the identity will ask for while they are held, going by the last calls. */
  #wanted(busy: Busy, units: number, holdUs: number, own: number): number {
    const passedUs = own - busy.since;
    if (passedUs > 0) {
      const part = Math.min(1, passedUs / FOLLOW_US);
      busy.rate += (busy.asked / passedUs - busy.rate) * part;
      busy.callRate += (busy.calls / passedUs - busy.callRate) * part;
      busy.asked = 0;
      busy.calls = 0;
      busy.since = own;
    }
    const want = Math.min(Math.ceil(busy.rate * holdUs), 2 * Math.max(busy.lastWant, units));
    return Math.max(want, units);
  }

  /**
   * How far turns may reach ahead. A unit of a turn can be spent for a while that depends on the burst. No turns where
   * that is too short for the round trips, or where this process would let most of them lapse.
   */
  #turnUs({ rate, callRate }: Busy, units: number, { rules, asks }: Shape, holdUs: number): number {
    let openUs = holdUs;
    for (const [i, { limit }] of rules.entries()) {
      const { capacity, windowMs, algorithm } = limit;
      if (algorithm === 'token_bucket') {
        openUs = Math.min(openUs, ((capacity - asks[i]!) / capacity) * windowMs! * 1_000);
      }
    }
    // A turn for a small call is of no use to the larger ones.
    const isUsed =
      openUs >= 4 * this.#usualTripUs &&
      callRate * openUs >= CALLS_PER_TURN &&
      1.001 * units * callRate >= rate;
    return isUsed ? this.#aheadUs : 0;
  }

  #heldUs(): number {
    return Math.max(this.#holdUs, 2 * this.#usualTripUs);
  }

  /** Whether round trips are so long that slices would end later than the store remembers them. */
  #isTooFar(holdUs: number): boolean {
    return holdUs + this.#aheadUs > LONGEST_SLICE_US;
  }

  #noteTrip(us: number): void {
    this.#trips.push(us);
    if (this.#trips.length > KEPT_TRIPS) {
      this.#trips.shift();
    }
    const sorted = this.#trips.toSorted((a, b) => b - a);
    this.#usualTripUs = Math.ceil(sorted[1] ?? sorted[0]!);
    this.#knowsTrips = this.#trips.length >= KEPT_TRIPS && !this.#isTooFar(this.#heldUs());
  }
}

/** How long units are held, in microseconds; 0 if the limits have a window that is too short for it. */
function heldUs({ limits }: LimitSet, { holdMs }: PrepaySettings): number {
  let held = holdMs ?? MOST_HELD_MS;
  for (const { windowMs, algorithm } of limits) {
    held = Math.min(held, (windowMs ?? Infinity) / 8);
    if (algorithm !== 'token_bucket' && held < LEAST_WINDOW_HELD_MS) {
      return 0;
    }
  }
  return Math.floor(held * 1_000);
}
