import { block } from '../algorithms/block.ts';
import { Concurrency } from '../algorithms/concurrency.ts';
import { currentShape, planningTime, makeShape } from '../script/call-shape.ts';
import type { Rule, Shape, Verb } from '../script/call-shape.ts';
import { Limit, LIMIT_BRAND, DEFAULT_LIMIT_NAME } from '../algorithms/limit.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { LimiterCounts } from '../observe/limiter-counts.ts';
import type { LimitCounts } from '../observe/limit-counts.ts';
import { carries, invalidOption, ofAnotherCopy, RateLimiterError, show } from '../base/errors.ts';

export const MAX_LIMITS = 16;
/** Costs beyond this many are planned anew at each call, so that costs taken from requests hold no memory. */
const MAX_PLANNED_COSTS = 64;

/** The limits that govern one call, all or nothing, and the keys of their states. */
export class LimitSet {
  readonly limits: readonly Limit[];
  /** As `maxCostOf` says. */
  readonly maxCost: number;
  /** How long the leases of its concurrency limits last, in milliseconds; empty where it has none. */
  readonly ttlsMs: readonly number[];
  /** The same of those that are enforced. */
  readonly enforcedTtlsMs: readonly number[];
  /** Where the leases of those are counted. */
  readonly leaseCounts: readonly LimitCounts[];
  /** What stands before the identity's digest in the key of the unnamed limit, or in what stands for that key. */
  readonly keyPrefix: string;
  /** Whether an identity's block is heeded. */
  readonly #blocks: boolean;
  /** The store's, by which windows of the calendar are planned. */
  readonly #clock: Clock;
  readonly #counts: readonly LimitCounts[];
  readonly #planned = new Map<Verb, Map<number, Shape>>();

  constructor(
    namespace: string,
    limits: unknown,
    blocks: boolean,
    counts: LimiterCounts = new LimiterCounts(namespace, 'open'),
    clock: Clock = systemClock,
  ) {
    this.#clock = clock;
    this.limits = readLimits(limits, isOfThisCopy);
    this.#counts = this.limits.map(({ name, twin }) =>
      counts.limit(name, twin.lending !== undefined),
    );
    this.leaseCounts = this.#counts.filter(
      (_, i) => this.limits[i] instanceof Concurrency && !this.limits[i].shadow,
    );
    this.maxCost = maxCostOf(this.limits);
    const lending = this.limits.filter((limit) => limit instanceof Concurrency);
    this.ttlsMs = lending.map(({ ttlMs }) => ttlMs);
    this.enforcedTtlsMs = lending.filter(({ shadow }) => !shadow).map(({ ttlMs }) => ttlMs);
    this.keyPrefix = keyPrefixOf(namespace, this.limits);
    this.#blocks = blocks;
  }

  /** `units` is the cost of the call, or what the verb is about. */
  shape(verb: Verb, units: number): Shape {
    let planned = this.#planned.get(verb);
    if (planned === undefined) {
      planned = new Map();
      this.#planned.set(verb, planned);
    }
    const known = planned.get(units);
    const shape = known === undefined ? this.#plan(verb, units) : currentShape(known, this.#clock);
    if (shape !== known && (known !== undefined || planned.size < MAX_PLANNED_COSTS)) {
      planned.set(units, shape);
    }
    return shape;
  }

  #plan(verb: Verb, units: number): Shape {
    const decides = ['allow', 'peek', 'acquire', 'reserve'].includes(verb);
    const nowMs = planningTime(this.#clock);
    const ofLease = verb === 'renew' || verb === 'release';
    const rules: Rule[] = [];
    for (const [i, limit] of this.limits.entries()) {
      if (!ofLease || limit.twin.lending !== undefined) {
        const plan = limit.plan(decides ? units : 1, nowMs);
        rules.push({ limit, plan, suffix: suffixOf(limit), counts: this.#counts[i]! });
      }
    }
    const heedsBlocks = this.#blocks && (decides || verb === 'up_to');
    return makeShape(verb, units, heedsBlocks ? [...rules, blockRule(0)] : rules);
  }
}

/** What sets, or lifts, an identity's block. */
export function blockShape(verb: 'penalize' | 'reset', durationMs: number): Shape {
  return makeShape(verb, 1, [blockRule(durationMs * 1_000)]);
}

function blockRule(durationUs: number): Rule {
  return { limit: block, plan: block.plan(durationUs, 0), suffix: '#block' };
}

/** The key prefix before the identity's digest. */
export function keyPrefixOf(namespace: string, limits: readonly Limit[]): string {
  const unnamed = limits.find(({ name }) => name === DEFAULT_LIMIT_NAME);
  return `${namespace}:${unnamed === undefined ? 'limits' : unnamed.algorithm}:`;
}

/** What follows the identity's key, in braces, in this limit's key: so both are in one slot of a cluster. */
export function suffixOf({ name, algorithm }: Limit): string {
  return name === DEFAULT_LIMIT_NAME ? '' : `/${name}:${algorithm}`;
}

/** Whether a call under these limits takes a place; what is no array of limits is for `readLimits` to refuse. */
export function lendsPlaces(limits: unknown): boolean {
  return (
    Array.isArray(limits) &&
    limits.some((limit) => (limit as Limit | undefined)?.algorithm === 'concurrency')
  );
}

/** The greatest cost that can pass all of these that are enforced; Infinity where none is. */
export function maxCostOf(limits: readonly Limit[]): number {
  return Math.min(
    ...limits
      .filter(({ shadow, algorithm }) => !shadow && algorithm !== 'concurrency')
      .map(({ capacity }) => capacity),
  );
}

/**
 * Limits as an array from 1 to 16 of them, of distinct names: checked, and copied so that they stay so. Without
 * `isLimit` they are another's to decide on, who may be of another copy of the package.
 */
export function readLimits(
  limits: unknown,
  isLimit: (limit: unknown) => limit is Limit = isOfSomeCopy,
): readonly Limit[] {
  checkCount(limits);
  const names = new Set<string>();
  for (const limit of limits) {
    if (!isLimit(limit)) {
      throw carries(limit, LIMIT_BRAND)
        ? ofAnotherCopy('limits', 'a limit')
        : invalidOption(
            'limits',
            'made of limits',
            limit,
            'Make each with tokenBucket({ rate, period }).',
          );
    }
    if (names.has(limit.name)) {
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        limit.name === DEFAULT_LIMIT_NAME
          ? '`limits` must have at most one limit without a name, got two. Give each a `name`.'
          : `\`limits\` must have different names, got ${show(limit.name)} twice. Rename one.`,
      );
    }
    names.add(limit.name);
  }
  return [...(limits as Limit[])];
}

/** How many there are comes first: an array from a request may be long. */
export function checkCount(limits: unknown): asserts limits is readonly unknown[] {
  if (!Array.isArray(limits) || limits.length < 1 || limits.length > MAX_LIMITS) {
    throw invalidOption(
      'limits',
      `an array of 1 to ${MAX_LIMITS} limits`,
      limits,
      'Pass limits made by tokenBucket({ rate, period }).',
    );
  }
}

export function isOfThisCopy(limit: unknown): limit is Limit {
  return limit instanceof Limit;
}

function isOfSomeCopy(limit: unknown): limit is Limit {
  return typeof limit === 'object' && limit !== null && 'twin' in limit;
}
