import { optionsOfLimit, partsOfLimit, readLimitText } from '../../../src/cli/limits/limit-text.ts';
import type { Decision } from '../../../src/base/decision.ts';
import { durationToMs } from '../../../src/base/duration.ts';
import { Policy } from './policy.ts';
import type { Requests } from './requests.ts';
import { makeScale } from './scale.ts';
import type { Scale } from './scale.ts';

/** What one policy did, as a chart and a table show it. Arrays are by the slot of the scale. */
export interface PolicyRun {
  readonly admittedAt: Uint32Array;
  readonly refusedAt: Uint32Array;
  /** What the watched caller has left when a slot begins, before the requests of that instant. */
  readonly remaining: Float64Array;
  /** How long a request of the watched caller would have to wait then, in milliseconds; 0 if it would pass. */
  readonly waitMs: Float64Array;
  /** The greatest `remaining` there can be. */
  readonly capacity: number;
  readonly admitted: number;
  readonly refused: number;
  /** Callers refused at least once. */
  readonly disturbed: number;
  /** The longest wait that a refusal told, in milliseconds. */
  readonly longestWaitMs: number;
  /** The most requests of one caller that passed within any one period of the first limit. */
  readonly mostInPeriod: number;
  /** That period, as the limit's text has it, and the rate that the limit has for it. */
  readonly period: string;
  readonly rate: number;
}

export interface Run {
  readonly requests: number;
  readonly callers: number;
  readonly isCut: boolean;
  readonly scale: Scale;
  /** The caller whose `remaining` is shown. */
  readonly watched: string;
  readonly policies: readonly PolicyRun[];
  /** The callers refused most under any policy, the worst first; then those with the most requests. */
  readonly worst: readonly WorstCaller[];
}

export interface WorstCaller {
  readonly name: string;
  readonly requests: number;
  /** By policy. */
  readonly refused: readonly number[];
}

const MOST_WORST = 10;

/**
 * Decides requests under policies, each with states of its own. Undefined once `isStale` says that nobody wants the
 * result any more; it is asked each time that the event loop gets a turn.
 */
export async function run(
  requests: Requests,
  policies: readonly string[],
  watched: string | undefined,
  isStale: () => boolean,
): Promise<Run | undefined> {
  const scale = makeScale(requests.fromMicros, requests.toMicros);
  const watchedNumber = numberOf(requests, watched);
  const runs: OnePolicy[] = [];
  for (const text of policies) {
    const one = await runPolicy(requests, text, scale, watchedNumber, isStale);
    if (one === undefined) {
      return undefined;
    }
    runs.push(one);
  }
  return {
    requests: requests.count,
    callers: requests.names.length,
    isCut: requests.isCut,
    scale,
    watched: requests.names[watchedNumber] ?? '',
    policies: runs.map((each) => each.shown),
    worst: worstOf(
      requests,
      runs.map(({ refusedOf }) => refusedOf),
    ),
  };
}

interface OnePolicy {
  readonly shown: PolicyRun;
  /** By the number of a caller. */
  readonly refusedOf: Uint32Array;
}

async function runPolicy(
  requests: Requests,
  text: string,
  scale: Scale,
  watched: number,
  isStale: () => boolean,
): Promise<OnePolicy | undefined> {
  const policy = new Policy(readLimitText(text));
  const keys = new KeysOfCallers(requests, policy);
  const { slots, stepMicros, fromMicros } = scale;
  const admittedAt = new Uint32Array(slots);
  const refusedAt = new Uint32Array(slots);
  const remaining = new Float64Array(slots);
  const waitMs = new Float64Array(slots);
  const refusedOf = new Uint32Array(requests.names.length);
  const { period, rate, windowMs } = firstLimitOf(text);
  const passed = new PassedWithin(windowMs * 1_000);
  let [admitted, refused, disturbed, longestWaitMs, next] = [0, 0, 0, 0, 0];

  /** Looks at the watched caller at the beginning of each slot up to this one. */
  const lookUntil = async (slot: number): Promise<boolean> => {
    for (; next <= slot && next < slots; next++) {
      if (requests.names.length === 0) {
        continue;
      }
      let seen = policy.decide('peek', keys.of(watched), fromMicros + next * stepMicros);
      if (seen instanceof Promise) {
        seen = await seen;
        if (isStale()) {
          return false;
        }
      }
      remaining[next] = seen.remaining ?? 0;
      waitMs[next] = seen.allowed ? 0 : (seen.retryAfterMs ?? Infinity);
    }
    return true;
  };

  for (let i = 0; i < requests.count; i++) {
    const at = requests.at[i]!;
    const caller = requests.caller[i]!;
    const slot = Math.floor((at - fromMicros) / stepMicros);
    if (next <= slot && !(await lookUntil(slot))) {
      return undefined;
    }
    let decision: Decision | Promise<Decision> = policy.decide('allow', keys.of(caller), at);
    if (decision instanceof Promise) {
      decision = await decision;
      if (isStale()) {
        return undefined;
      }
    }
    if (decision.allowed) {
      admitted += 1;
      admittedAt[slot]! += 1;
      passed.add(caller, at);
    } else {
      refused += 1;
      refusedAt[slot]! += 1;
      disturbed += refusedOf[caller] === 0 ? 1 : 0;
      refusedOf[caller]! += 1;
      longestWaitMs = Math.max(longestWaitMs, decision.retryAfterMs ?? Infinity);
    }
  }
  if (!(await lookUntil(slots - 1))) {
    return undefined;
  }
  const capacity = Math.min(...policy.limits.map((limit) => limit.capacity));
  return {
    shown: {
      admittedAt,
      refusedAt,
      remaining,
      waitMs,
      capacity,
      admitted,
      refused,
      disturbed,
      longestWaitMs,
      mostInPeriod: passed.most,
      period,
      rate,
    },
    refusedOf,
  };
}

/** Makes the digest of a caller's name once. */
class KeysOfCallers {
  readonly #keys: string[] = [];
  readonly #requests: Requests;
  readonly #policy: Policy;

  constructor(requests: Requests, policy: Policy) {
    this.#requests = requests;
    this.#policy = policy;
  }

  of(caller: number): string {
    return (this.#keys[caller] ??= this.#policy.keyOf(this.#requests.names[caller]!));
  }
}

/** The most requests of one caller that passed within any stretch of one length. */
class PassedWithin {
  most = 0;
  readonly #length: number;
  readonly #times: { at: number[]; first: number }[] = [];

  constructor(length: number) {
    this.#length = length;
  }

  add(caller: number, at: number): void {
    const times = (this.#times[caller] ??= { at: [], first: 0 });
    times.at.push(at);
    while (times.at[times.first]! <= at - this.#length) {
      times.first += 1;
    }
    if (times.first > 1_000) {
      times.at = times.at.slice(times.first);
      times.first = 0;
    }
    this.most = Math.max(this.most, times.at.length - times.first);
  }
}

/** The caller of that name, else the one with the most requests. */
function numberOf({ names, perCaller }: Requests, watched: string | undefined): number {
  const named = watched === undefined ? -1 : names.indexOf(watched);
  return named >= 0
    ? named
    : perCaller.reduce((busiest, all, i) => (all > perCaller[busiest]! ? i : busiest), 0);
}

function worstOf(requests: Requests, refusedOf: readonly Uint32Array[]): readonly WorstCaller[] {
  const { names, perCaller } = requests;
  const most = (caller: number): number => Math.max(...refusedOf.map((each) => each[caller]!));
  return names
    .map((_, caller) => caller)
    .sort((a, b) => most(b) - most(a) || perCaller[b]! - perCaller[a]! || a - b)
    .slice(0, MOST_WORST)
    .map((caller) => ({
      name: names[caller]!,
      requests: perCaller[caller]!,
      refused: refusedOf.map((each) => each[caller]!),
    }));
}

function firstLimitOf(text: string): {
  readonly period: string;
  readonly rate: number;
  readonly windowMs: number;
} {
  const { period, rate } = optionsOfLimit(partsOfLimit(text.split(',')[0]!.trim())!);
  return { period, rate, windowMs: durationToMs(period)! };
}
