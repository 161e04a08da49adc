import type { Limit } from '../../../src/algorithms/limit.ts';
import type { LimitSet } from '../../../src/limiter/limit-set.ts';
import type { Prepay } from '../../../src/limiter/prepay.ts';
import type { ClockAnchors } from '../../../src/stores/clock-anchor.ts';
import type { Random } from '../random.mjs';
import type { SliceEngine } from './engine.ts';

/** The instant at which a world begins, in microseconds. */
export const START: number = 1_800_000_000 * 1_000_000;

/** What happens to a process and its clocks. */
export interface Jolt {
  /** In microseconds after the start. */
  readonly at: number;
  /** For how long it stands still together with its monotonic clock, while its wall clock goes on. */
  readonly stopsUs?: number;
  /** By how much its wall clock is set. */
  readonly wallUs?: number;
  /** By how much its monotonic clock jumps. */
  readonly ownUs?: number;
}

/** One process: how it decides, how far away it is, and what its clock shows. */
export interface NodeSpec {
  /** Without it the process asks the store for each call. */
  readonly prepay: boolean;
  /** The shortest and the longest way to the server, or back, in microseconds. */
  readonly wayUs: readonly [number, number];
  /** Of its clock against the server's: 0.05 is 5 % too fast. */
  readonly drift: number;
  /** Units per second that it asks for on average. */
  readonly rate: number;
  readonly mostCost: number;
  /** Whether its calls come in bursts, a fifth of the time. */
  readonly bursts: boolean;
  /** When it is killed, in microseconds after the start. */
  readonly diesAt: number;
  /** A limit that it passes with each call, in place of the first. Such a process does not prepay. */
  readonly plan?: Limit | undefined;
  /** In the order of time. */
  readonly jolts?: readonly Jolt[];
}

/** A process in simulated time, with clocks of its own. */
export class Node {
  readonly spec: NodeSpec;
  readonly set: LimitSet;
  /** Missing if it asks the store for each call. */
  readonly prepay: Prepay | undefined;
  readonly anchors: ClockAnchors;
  /** Makes the same traffic, however its calls are decided. */
  readonly traffic: Random;
  units = 0;
  /** When the newest decision was made that it has heard of. */
  heardOf = 0;
  readonly #offset: number;

  /** `now`: the true time. */
  constructor(
    { ClockAnchors: Anchors }: SliceEngine,
    spec: NodeSpec,
    set: LimitSet,
    prepay: Prepay | undefined,
    { offset, traffic, now }: { offset: number; traffic: Random; now: () => number },
  ) {
    this.spec = spec;
    this.set = set;
    this.prepay = prepay;
    this.#offset = offset;
    this.traffic = traffic;
    this.anchors = new Anchors({ nowMicros: () => this.#own(now()) }, () => this.#lead(now()));
    this.anchors.onDrop(() => this.prepay?.forget());
  }

  /** When it runs again, if it stands still. */
  runsFrom(now: number): number {
    const { jolts = [] } = this.spec;
    const until = jolts
      .filter(({ at }) => START + at <= now)
      .map(({ at, stopsUs = 0 }) => START + at + stopsUs);
    return Math.max(now, ...until);
  }

  isDead(now: number): boolean {
    return now - START >= this.spec.diesAt;
  }

  /** What its monotonic clock shows. */
  #own(now: number): number {
    const ran = now - START - this.#stopped(now);
    return Math.floor(ran * (1 + this.spec.drift)) + this.#offset + this.#sum(now, 'ownUs');
  }

  /** How far its wall clock leads the monotonic one, in milliseconds. */
  #lead(now: number): number {
    return (this.#stopped(now) + this.#sum(now, 'wallUs') - this.#sum(now, 'ownUs')) / 1_000;
  }

  #stopped(now: number): number {
    return (this.spec.jolts ?? []).reduce(
      (sum, { at, stopsUs = 0 }) => sum + Math.max(0, Math.min(stopsUs, now - START - at)),
      0,
    );
  }

  #sum(now: number, clock: 'wallUs' | 'ownUs'): number {
    const past = (this.spec.jolts ?? []).filter(({ at }) => START + at <= now);
    return past.reduce((sum, jolt) => sum + (jolt[clock] ?? 0), 0);
  }
}
