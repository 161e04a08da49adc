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
import { digestIdentity, namesOfParts, readNamedParts } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';
import {
  checkPlanBy,
  formOfHome,
  homeKeys,
  homesOf,
  keysOfProbe,
  nameOfBy,
  nothingConsulted,
  partsOf,
  readTag,
} from './homes.ts';
import type { HomeBy, Homes } from './homes.ts';

export const MAX_LIMITS = 16;
/** Further costs are planned at each call, so that costs taken from requests do not fill memory. */
const MAX_PLANNED_COSTS = 64;
/** The same for the limits that are left where parts of an identity are null. */
const MAX_NARROWED = 64;

type Secret = string | Uint8Array | undefined;

/** The limits that one call consults, and where the states of its identity are. */
export interface Located {
  readonly limits: LimitSet;
  /** The key of the first home. */
  readonly key: string;
  /** The keys of all homes, the first among them; undefined if there is one. */
  readonly homes: readonly string[] | undefined;
}

/** The limits that govern one call, all or nothing, and the keys of their states. */
export class LimitSet {
  readonly limits: readonly Limit[];
  /** The greatest cost that passes all enforced limits; Infinity if none is enforced. */
  readonly maxCost: number;
  /** The lease times of its concurrency limits, in milliseconds; empty if it has none. */
  readonly ttlsMs: readonly number[];
  /** `ttlsMs` without shadow limits. */
  readonly enforcedTtlsMs: readonly number[];
  /** The counts of leases, for concurrency limits that are enforced. */
  readonly leaseCounts: readonly LimitCounts[];
  /** Key prefix before a whole identity's digest: of all calls of a limiter, whatever their limits. */
  readonly keyPrefix: string;
  /** The homes of one identity, by the parts that they count by; empty if identities are whole. */
  readonly homes: readonly HomeBy[];
  /** Undefined if identities are whole. */
  readonly space: Homes | undefined;
  /** Whether it is `[]`, the plan without a limit. */
  readonly isPlanWithoutLimit: boolean;
  /** Whether calls pass without the store: without a limit, and without a block to ask for. */
  readonly asksNothing: boolean;
  /** Whether blocked identities are refused. */
  readonly #blocks: boolean;
  /** The store's clock, by which calendar windows are planned. */
  readonly #clock: Clock;
  readonly #counts: readonly LimitCounts[];
  readonly #planned = new Map<Verb, Map<number, Shape>>();
  /** The homes that can be blocked: those of the limiter's own limits. */
  readonly #blockable: readonly HomeBy[];
  /** The names of the parts that an identity has, sorted. */
  readonly #parts: readonly string[];
  /** By what they leave out: the sets of fewer limits. */
  readonly #narrowed = new Map<string, LimitSet>();
  readonly #limiterCounts: LimiterCounts;

  /**
   * `own`: the limiter's own limits, in whose place these are passed with a call; or, with `kept`, the set that this is
   * a part of, with the limits of these homes alone.
   */
  constructor(
    namespace: string,
    limits: unknown,
    blocks: boolean,
    counts: LimiterCounts = new LimiterCounts(namespace, 'open'),
    clock: Clock = systemClock,
    own?: LimitSet,
    tagBy?: HomeBy,
    kept?: readonly HomeBy[],
  ) {
    this.#clock = clock;
    this.#limiterCounts = counts;
    this.limits =
      own === undefined
        ? readLimits(limits, isOfThisCopy)
        : kept === undefined
          ? readPlan(limits, isOfThisCopy).map((limit) => limit.insteadOf(own.#like(limit)))
          : own.limits.filter((limit) => isOneOf(kept, limit.by));
    const tag = own === undefined ? readTag(this.limits, tagBy) : own.space?.tag;
    if (own !== undefined && kept === undefined) {
      checkPlanBy(this.limits, tag);
    }
    this.space = tag === undefined ? undefined : { namespace, tag };
    const ownHomes = own === undefined ? homesOf(this.limits) : own.#blockable;
    this.#blockable = kept === undefined ? ownHomes : ownHomes.filter((by) => isOneOf(kept, by));
    this.homes = distinct([
      ...homesOf(this.limits),
      ...(blocks || this.limits.length === 0 ? this.#blockable : []),
    ]);
    this.#parts =
      kept === undefined
        ? [...new Set([...partsOf(this.limits), ...(own === undefined ? [] : own.#parts)])].sort()
        : own!.#parts;
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
    this.isPlanWithoutLimit = this.limits.length === 0;
    this.asksNothing = this.isPlanWithoutLimit && !blocks;
    this.keyPrefix = own?.keyPrefix ?? keyPrefixOf(namespace, this.limits);
    this.#blocks = blocks;
  }

  /** The limit with the state of this one. */
  #like({ name, algorithm, by = [] }: Limit): Limit | undefined {
    return this.limits.find(
      (limit) =>
        limit.name === name &&
        limit.algorithm === algorithm &&
        nameOfBy(limit.by ?? []) === nameOfBy(by),
    );
  }

  /**
   * Finds the homes of an identity, and the limits that it consults: those by whose parts it has.
   *
   * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
   */
  locate(identity: AnyIdentity, secret: Secret): Located {
    if (this.space === undefined) {
      const key = this.keyPrefix + digestIdentity(identity as Identity, secret);
      return { limits: this, key, homes: undefined };
    }
    const parts = readNamedParts(identity, this.#parts);
    const isGiven = (by: HomeBy): boolean => by.every((part) => parts.get(part) !== null);
    const limits = this.#narrow(this.homes.filter(isGiven));
    const keys = homeKeys(this.space, limits.homes, parts, secret);
    return { limits, key: keys[0]!, homes: keys.length > 1 ? keys : undefined };
  }

  /**
   * Finds the one home of exactly the parts that an identity has, and the limits that count by them.
   *
   * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
   */
  locateHome(identity: AnyIdentity, secret: Secret): Located {
    if (this.space === undefined) {
      return this.locate(identity, secret);
    }
    const names = namesOfParts(identity, this.#parts);
    const parts = readNamedParts(identity, names);
    const home = this.homes.find((by) => nameOfBy(by) === nameOfBy(names));
    if (home === undefined || names.some((name) => parts.get(name) === null)) {
      throw notOfAHome(this.homes);
    }
    const [key] = homeKeys(this.space, [home], parts, secret);
    return { limits: this.#narrow([home]), key: key!, homes: undefined };
  }

  /** Keys that no identity has, for a call that only tries the store. */
  locateProbe(probe: readonly string[], secret: Secret): Located {
    if (this.space === undefined) {
      return this.locate(probe, secret);
    }
    const keys = keysOfProbe(this.space, this.homes, probe, secret);
    return { limits: this, key: keys[0]!, homes: keys.length > 1 ? keys : undefined };
  }

  /** Without digests, the form of the keys under which the state of this limit is. */
  formOf({ by }: Limit): string {
    return this.space === undefined || by === undefined
      ? this.keyPrefix
      : formOfHome(this.space, by);
  }

  /** The set of the limits whose homes are among these. */
  #narrow(homes: readonly HomeBy[]): LimitSet {
    if (homes.length === this.homes.length) {
      return this;
    }
    const name = homes.map(nameOfBy).join('\n');
    let set = this.#narrowed.get(name);
    if (set === undefined) {
      const { namespace } = this.space!;
      set = new LimitSet(
        namespace,
        undefined,
        this.#blocks,
        this.#limiterCounts,
        this.#clock,
        this,
        undefined,
        homes,
      );
      if (set.homes.length === 0 || (set.isPlanWithoutLimit && !this.isPlanWithoutLimit)) {
        throw nothingConsulted();
      }
      if (this.#narrowed.size < MAX_NARROWED) {
        this.#narrowed.set(name, set);
      }
    }
    return set;
  }

  /** `units` is the call's cost, or the number that the verb takes. */
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
        const home = this.#homeAt(limit.by);
        rules.push({ ...placeOf(limit), home, limit, plan, counts: this.#counts[i]! });
      }
    }
    if (this.#blocks && (decides || verb === 'up_to')) {
      const homes = this.space === undefined ? [undefined] : this.#blockable;
      rules.push(...homes.map((by) => blockRule(0, this.#homeAt(by))));
    }
    return makeShape(verb, units, rules);
  }

  #homeAt(by: HomeBy | undefined): number {
    return by === undefined ? 0 : this.homes.findIndex((home) => nameOfBy(home) === nameOfBy(by));
  }
}

function isOneOf(homes: readonly HomeBy[], by: HomeBy | undefined): boolean {
  return by !== undefined && homes.some((home) => nameOfBy(home) === nameOfBy(by));
}

function distinct(homes: readonly HomeBy[]): readonly HomeBy[] {
  return homes.filter((by, i) => homes.findIndex((each) => nameOfBy(each) === nameOfBy(by)) === i);
}

function notOfAHome(homes: readonly HomeBy[]): RateLimiterError {
  const forms = homes.map((by) => (by.length === 0 ? '{}' : `{ ${by.join(', ')} }`));
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`identity\` must have exactly the parts that some limit counts by, none of them null: ${forms.join(' or ')}. Pass those of the counters that are meant.`,
  );
}

/** The shape that sets or lifts an identity's block. */
export function blockShape(verb: 'penalize' | 'reset', durationMs: number): Shape {
  return makeShape(verb, 1, [blockRule(durationMs * 1_000)]);
}

function blockRule(durationUs: number, home = 0): Rule {
  return { limit: block, plan: block.plan(durationUs, 0), suffix: '#block', id: '-', home };
}

/** The key prefix before the identity's digest. */
function keyPrefixOf(namespace: string, limits: readonly Limit[]): string {
  const unnamed = limits.find(({ name }) => name === DEFAULT_LIMIT_NAME);
  return `${namespace}:${unnamed === undefined ? 'limits' : unnamed.algorithm}:`;
}

/**
 * Where the state of a limit is: in the home under this id, or else under a key with this suffix. The identity's key
 * before the suffix is in braces, so both are in one slot of a cluster.
 */
export function placeOf(limit: Limit): Pick<Rule, 'suffix' | 'id'> {
  const { name, algorithm, twin } = limit;
  return twin.letter === undefined
    ? { suffix: `/${name}:${algorithm}`, id: '-' }
    : { suffix: '', id: `${name === DEFAULT_LIMIT_NAME ? '' : name}=${twin.letter}` };
}

/** The number of keys that hold the states of one identity under these limits. */
export function keyCountOf(limits: readonly Limit[]): number {
  return new Set(limits.map((limit) => `${nameOfBy(limit.by ?? [])}:${placeOf(limit).suffix}`))
    .size;
}

/** Names a limit's state in texts: what follows the identity's key, or would if the state had a key of its own. */
export function stateNameOf({ name, algorithm }: Limit): string {
  return name === DEFAULT_LIMIT_NAME ? '' : `/${name}:${algorithm}`;
}

/** Whether a call under these limits takes a place. Ignores invalid limits, which `readLimits` refuses. */
export function lendsPlaces(limits: unknown): boolean {
  return (
    Array.isArray(limits) &&
    limits.some((limit) => (limit as Limit | undefined)?.algorithm === 'concurrency')
  );
}

/** The greatest cost that passes all enforced limits; Infinity if none is enforced. */
export function maxCostOf(limits: readonly Limit[]): number {
  return Math.min(
    ...limits
      .filter(({ shadow, algorithm }) => !shadow && algorithm !== 'concurrency')
      .map(({ capacity }) => capacity),
  );
}

/**
 * Checks and copies an array of 1 to 16 limits with distinct names. Without `isLimit`, limits from another copy of
 * this package are accepted too.
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

/** Reads the limits of a call, which may be none: `[]` is the plan without a limit. */
export function readPlan(
  limits: unknown,
  isLimit?: (limit: unknown) => limit is Limit,
): readonly Limit[] {
  return Array.isArray(limits) && limits.length === 0 ? [] : readLimits(limits, isLimit);
}

/** Checks the length first: an array from a request may be long. */
export function checkCount(limits: unknown): asserts limits is readonly unknown[] {
  if (!Array.isArray(limits) || limits.length < 1 || limits.length > MAX_LIMITS) {
    const isEmpty = Array.isArray(limits) && limits.length === 0;
    throw invalidOption(
      'limits',
      `an array of 1 to ${MAX_LIMITS} limits`,
      limits,
      `Pass limits made by tokenBucket({ rate, period }).${isEmpty ? ' Only a call may be without a limit: allow(identity, { limits: [] }).' : ''}`,
    );
  }
}

export function isOfThisCopy(limit: unknown): limit is Limit {
  return limit instanceof Limit;
}

function isOfSomeCopy(limit: unknown): limit is Limit {
  return typeof limit === 'object' && limit !== null && 'twin' in limit;
}
