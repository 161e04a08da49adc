import { banOf, idOfBan } from '../algorithms/ban.ts';
import { block } from '../algorithms/block.ts';
import { isConcurrency } from '../algorithms/concurrency.ts';
import { ProviderQuota, quotaPlan } from '../algorithms/provider-quota.ts';
import type { Said } from '../algorithms/provider-quota.ts';
import { currentShape, planningTime, makeShape } from '../script/call-shape.ts';
import type { Rule, Shape, Verb } from '../script/call-shape.ts';
import { readSettled, readSettledByLimit } from '../script/read-answer.ts';
import { DEFAULT_LIMIT_NAME } from '../algorithms/limit.ts';
import type { AnyLimit, Limit, Plan } from '../algorithms/limit.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { LimiterCounts } from '../observe/limiter-counts.ts';
import type { LimitCounts } from '../observe/limit-counts.ts';
import { costOf, costOfOne, unitOf } from './cost.ts';
import type { Asked } from './cost.ts';
import { askedOf, LimitUnits } from './limit-units.ts';
import type { AskOptions } from './limit-units.ts';
import type { Cost, ImpossibleDecision } from '../base/decision.ts';
import { makeImpossibleDecision } from './make-decision.ts';
import { RateLimiterError } from '../base/errors.ts';
import { digestIdentity, namesOfParts, readNamedParts } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';
import {
  checkPlanBy,
  distinct,
  formOfHome,
  homeKeys,
  homesOf,
  isOneOf,
  isSameBy,
  keysOfProbe,
  nameOfBy,
  nothingConsulted,
  partsOf,
  readTag,
} from './homes.ts';
import type { HomeBy, Homes } from './homes.ts';
import type { ClusterTags } from './cluster-tags.ts';
import { isOfThisVersion, readLimits, readPlan } from './read-limits.ts';
import { tellLimits, unitsTold } from './told-limits.ts';
import { settledByUnit } from './settlement.ts';

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

/** What a set of limits is a set of, if not the limiter's own limits. */
interface LimitSetOptions {
  readonly counts?: LimiterCounts;
  readonly clock?: Clock;
  /** The limiter's own limits, in whose place these are passed with a call; or, with `kept`, the set to narrow. */
  readonly own?: LimitSet;
  /** What the limiter's option says. */
  readonly tagBy?: HomeBy | undefined;
  /** What all keys share; default: as `own`. */
  readonly tags?: ClusterTags | undefined;
  /** The homes whose limits are left of `own`. */
  readonly kept?: readonly HomeBy[];
  /** For limits that a record tells of: the homes of the reservation. */
  readonly blockable?: readonly HomeBy[];
  /** Default: as `own`. */
  readonly observes?: boolean;
}

/** The limits that govern one call, all or nothing, and the keys of their states. */
export class LimitSet {
  readonly limits: readonly Limit[];
  /**
   * The greatest cost that passes all enforced limits; Infinity if none is enforced. In a limiter with units that of
   * limits of one unit, whatever the unit.
   */
  readonly maxCost: number;
  /** Whether calls give their cost by name: the limiter's limits, or the call's, have units. */
  readonly hasUnits: boolean;
  readonly #units: LimitUnits;
  /** The lease times of its concurrency limits, in milliseconds; empty if it has none. */
  readonly ttlsMs: readonly number[];
  /** `ttlsMs` without shadow limits. */
  readonly enforcedTtlsMs: readonly number[];
  /** The counts of leases, for concurrency limits that are enforced. */
  readonly leaseCounts: readonly LimitCounts[];
  /** Stands before a whole identity's digest, after the head: of all calls of a limiter, whatever their limits. */
  readonly #keyPrefix: string;
  /** Present if all keys of the limiter share hash tags. */
  readonly #tags: ClusterTags | undefined;
  /** The homes of one identity, by the parts that they count by; empty if identities are whole. */
  readonly homes: readonly HomeBy[];
  /** Undefined if identities are whole. */
  readonly space: Homes | undefined;
  /** Whether it is `[]`, the plan without a limit. */
  readonly isPlanWithoutLimit: boolean;
  /** Whether blocked identities are refused. */
  readonly #blocks: boolean;
  /** The store's clock, by which calendar windows are planned. */
  readonly #clock: Clock;
  readonly #counts: readonly LimitCounts[];
  readonly #planned = new Map<Verb | 'poll', Map<number | string, Shape>>();
  readonly #mayBan: boolean;
  /** The homes that can be blocked: those of the limiter's own limits. */
  readonly #blockable: readonly HomeBy[];
  /** The names of the parts that an identity has, sorted. */
  readonly #parts: readonly string[];
  /** By what they leave out: the sets of fewer limits. */
  readonly #narrowed = new Map<string, LimitSet>();
  readonly #limiterCounts: LimiterCounts;
  /** What records of reservations under these limits say of them. */
  #told: string | undefined;
  /** By limit: what its provider says is left; undefined for limits that heed no provider. */
  readonly #quotas: readonly (Limit | undefined)[];
  readonly #observes: boolean;

  constructor(
    namespace: string,
    limits: unknown,
    blocks: boolean,
    {
      counts = new LimiterCounts(namespace, 'open'),
      clock = systemClock,
      own,
      tagBy,
      tags = own === undefined ? undefined : own.#tags,
      kept,
      blockable,
      observes = own !== undefined && own.#observes,
    }: LimitSetOptions = {},
  ) {
    this.#clock = clock;
    this.#limiterCounts = counts;
    this.limits =
      own === undefined
        ? readLimits(limits, isOfThisVersion)
        : kept === undefined
          ? readPlan(limits, isOfThisVersion).map((limit) => limit.insteadOf(own.#like(limit)))
          : own.limits.filter((limit) => isOneOf(kept, limit.by));
    const tag = own === undefined ? readTag(this.limits, tagBy) : own.space?.tag;
    if (own !== undefined && kept === undefined) {
      checkPlanBy(this.limits, tag);
    }
    this.#tags = tags;
    this.space = tag === undefined ? undefined : { namespace, tag, shared: tags };
    const ownHomes = blockable ?? (own === undefined ? homesOf(this.limits) : own.#blockable);
    this.#blockable = kept === undefined ? ownHomes : ownHomes.filter((by) => isOneOf(kept, by));
    this.homes = distinct([
      ...homesOf(this.limits),
      ...(blocks || this.limits.length === 0 ? this.#blockable : []),
    ]);
    this.#parts =
      kept === undefined
        ? [...new Set([...partsOf(this.limits), ...(own === undefined ? [] : own.#parts)])].sort()
        : own!.#parts;
    this.#units = new LimitUnits(this.limits, own === undefined ? undefined : own.#units);
    this.hasUnits = this.#units.hasUnits;
    this.#counts = this.limits.map((limit) =>
      counts.limit(
        limit.name,
        limit.twin.lending !== undefined,
        limit.ban !== undefined,
        this.hasUnits ? unitOf(limit) : undefined,
      ),
    );
    this.leaseCounts = this.#counts.filter(
      (_, i) => isConcurrency(this.limits[i]!) && !this.limits[i].shadow,
    );
    this.maxCost = maxCostOf(this.limits);
    const lending = this.limits.filter(isConcurrency);
    this.ttlsMs = lending.map(({ ttlMs }) => ttlMs);
    this.enforcedTtlsMs = lending.filter(({ shadow }) => !shadow).map(({ ttlMs }) => ttlMs);
    this.isPlanWithoutLimit = this.limits.length === 0;
    this.#keyPrefix =
      own === undefined
        ? keyPrefixOf(tags === undefined ? namespace : undefined, this.limits)
        : own.#keyPrefix;
    this.#blocks = blocks;
    this.#mayBan = this.limits.some(({ ban }) => ban !== undefined);
    this.#observes = observes;
    this.#quotas = this.limits.map((limit) =>
      observes && heedsProviders(limit) ? new ProviderQuota(limit) : undefined,
    );
  }

  /** The homes that blocks are heeded of: those of the limiter's own limits. */
  get blockable(): readonly HomeBy[] {
    return this.#blockable;
  }

  /** The limit with the state of this one. */
  #like({ name, algorithm, by = [] }: Limit): Limit | undefined {
    return this.limits.find(
      (limit) =>
        limit.name === name && limit.algorithm === algorithm && isSameBy(limit.by ?? [], by),
    );
  }

  /**
   * Finds the homes of an identity, and the limits that it consults: those by whose parts it has.
   *
   * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
   */
  locate(identity: AnyIdentity, secret: Secret): Located {
    if (this.space === undefined) {
      const digest = digestIdentity(identity as Identity, secret);
      const key = this.#keyPrefix + digest;
      return {
        limits: this,
        key: this.#tags === undefined ? key : this.#tags.headOf(digest) + key,
        homes: undefined,
      };
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
    const home = this.homes.find((by) => isSameBy(by, names));
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
  formOf({ by }: AnyLimit): string {
    return this.space === undefined || by === undefined
      ? `${this.#tags?.form ?? ''}${this.#keyPrefix}`
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
      set = new LimitSet(this.space!.namespace, undefined, this.#blocks, {
        counts: this.#limiterCounts,
        clock: this.#clock,
        own: this,
        kept: homes,
      });
      if (set.homes.length === 0 || (set.isPlanWithoutLimit && !this.isPlanWithoutLimit)) {
        throw nothingConsulted();
      }
      if (this.#narrowed.size < MAX_NARROWED) {
        this.#narrowed.set(name, set);
      }
    }
    return set;
  }

  /**
   * Reads a cost under these limits, as `LimitUnits` does.
   *
   * @throws {RateLimiterError} `ERR_INVALID_COST`
   */
  ask(option: string, given: unknown, how?: AskOptions): Asked {
    return this.#units.ask(option, given, how);
  }

  /**
   * Checks that these limits, to which an identity with `null` parts has narrowed the given ones, are asked as well.
   *
   * @throws {RateLimiterError} `ERR_INVALID_IDENTITY`
   */
  requireAsked(asked: Asked, given: LimitSet): void {
    if (
      this !== given &&
      typeof asked !== 'number' &&
      given.#units.consults(asked) &&
      !this.#units.consults(asked)
    ) {
      throw nothingConsulted();
    }
  }

  /** The units of each limit, null for a limit that is not asked; the number itself where no limit has a unit. */
  unitsOf(asked: Asked): number | readonly (number | null)[] {
    if (!this.hasUnits) {
      return asked as number;
    }
    const units = this.limits.map((limit) => askedOf(limit, asked) ?? null);
    return [...units, ...units.filter((_, i) => this.#quotas[i] !== undefined)];
  }

  /** Reads an answer to `settle`: by name where limits have units; undefined if the record was gone. */
  readSettled(
    reply: readonly number[],
    at: number,
  ): { readonly charged: Cost; readonly uncharged: Cost } | undefined {
    if (!this.hasUnits) {
      return readSettled(reply, at);
    }
    const settled = readSettledByLimit(reply, at, this.limits.length);
    const counted = this.limits.map((limit) => ({ unit: unitOf(limit), shadow: limit.shadow }));
    return settled === undefined ? undefined : settledByUnit(counted, settled);
  }

  /** Whether a call passes without the store: it asks no limit, and there is no block to ask for. */
  asksNothingOf(asked: Asked): boolean {
    return (
      !this.#blocks &&
      (this.isPlanWithoutLimit ||
        (typeof asked !== 'number' &&
          this.limits.every((limit) => askedOf(limit, asked) === undefined)))
    );
  }

  /** Whether the cost exceeds what some enforced limit can ever let pass at once. */
  isImpossible(asked: Asked): boolean {
    return typeof asked === 'number'
      ? asked > this.maxCost
      : this.limits.some((limit) => !limit.shadow && exceeds(limit, askedOf(limit, asked) ?? 0));
  }

  /** The decision on a cost that some limit never lets pass. */
  impossible(asked: Asked): ImpossibleDecision {
    const limits = this.limits
      .filter((limit) => askedOf(limit, asked) !== undefined)
      .map((limit) => ({
        limit,
        refused: exceeds(limit, askedOf(limit, asked)!),
        ...(this.hasUnits ? { unit: unitOf(limit) } : {}),
      }));
    return makeImpossibleDecision(limits, costOf(asked), this.#maxCost());
  }

  #maxCost(): Cost {
    if (!this.hasUnits) {
      return this.maxCost;
    }
    const greatest = [...this.#units.counted].map((unit) => [
      unit,
      maxCostOf(this.limits.filter((limit) => unitOf(limit) === unit)),
    ]);
    return Object.fromEntries(greatest.filter(([, most]) => most !== Infinity));
  }

  /**
   * `asked` is the call's cost, or the number that the verb takes. `polls`: the caller waits for its turn and asks again,
   * so that its refusals are not counted for bans.
   */
  shape(verb: Verb, asked: Asked, polls = false): Shape {
    const kind = polls && this.#mayBan ? 'poll' : verb;
    let planned = this.#planned.get(kind);
    if (planned === undefined) {
      planned = new Map();
      this.#planned.set(kind, planned);
    }
    const key = typeof asked === 'number' ? asked : asked.key;
    const known = planned.get(key);
    const shape =
      known === undefined ? this.#plan(verb, asked, polls) : currentShape(known, this.#clock);
    if (shape !== known && (known !== undefined || planned.size < MAX_PLANNED_COSTS)) {
      planned.set(key, shape);
    }
    return shape;
  }

  #plan(verb: Verb, asked: Asked, polls: boolean): Shape {
    const decides = DECIDING.has(verb);
    const nowMs = planningTime(this.#clock);
    const ofLease = verb === 'renew' || verb === 'release';
    const ofReservation = verb === 'reserve' || verb === 'add' || verb === 'settle';
    const rules: Rule[] = [];
    const asks: (number | null)[] = [];
    const blockRules: Rule[] = [];
    for (const [i, limit] of this.limits.entries()) {
      const units = askedOf(limit, asked);
      // All limits are in a reservation's record, so that it can be settled in any unit.
      if (ofLease ? limit.twin.lending === undefined : units === undefined && !ofReservation) {
        continue;
      }
      rules.push({
        ...this.#ruleOf(limit, limit.plan(decides ? (units ?? 0) : 1, nowMs)),
        counts: this.#counts[i]!,
        ...(this.hasUnits ? { unit: unitOf(limit) } : {}),
      });
      asks.push(units ?? null);
    }
    if (this.#observes && HEEDING.has(verb)) {
      this.#addQuotas(rules, asks, nowMs);
    }
    if (this.#blocks && (decides || verb === 'up_to')) {
      const homes = this.space === undefined ? [undefined] : this.#blockable;
      blockRules.push(...homes.map((by) => blockRule(0, this.#homeAt(by))));
    }
    const cost =
      verb === 'penalize' || verb === 'credit' ? costOfOne(costOf(asked)) : costOf(asked);
    const told = verb === 'reserve' || verb === 'settle' ? this.#tell(verb) : undefined;
    const banRules = BANNING.has(verb) && !polls ? bansOf(rules, blockRules) : [];
    if (!this.hasUnits || (!ofReservation && new Set(asks).size <= 1)) {
      const units = asks[0] ?? (typeof asked === 'number' ? asked : 0);
      return makeShape(verb, units, [...rules, ...blockRules, ...banRules], cost, told);
    }
    const priced = rules.map((rule, i) => ({ ...rule, units: asks[i]! }));
    return makeShape(verb, 0, [...priced, ...blockRules, ...banRules], cost, told);
  }

  #tell(verb: 'reserve' | 'settle'): string {
    this.#told ??= tellLimits(this.limits, this.hasUnits, this.homes, this.#observes);
    return verb === 'reserve' ? this.#told : unitsTold(this.#told);
  }

  /** Adds to the rules of limits those of what their providers say is left. */
  #addQuotas(rules: Rule[], asks: (number | null)[], nowMs: number): void {
    const ofLimits = rules.length;
    for (let i = 0; i < ofLimits; i++) {
      const rule = rules[i]!;
      const quota = this.#quotas[this.limits.indexOf(rule.limit)];
      if (quota !== undefined) {
        rules[i] = { ...rule, quotaAt: rules.length };
        rules.push(this.#ruleOf(quota, quota.plan(rule.plan.cost, nowMs)));
        asks.push(asks[i]!);
      }
    }
  }

  /** The shape that lowers what may pass under limits to what their provider says is left. */
  observeShape(reports: readonly ObservedQuota[]): Shape {
    const rules = reports.map(({ limit, said }) =>
      this.#ruleOf(this.#quotas[this.limits.indexOf(limit)]!, quotaPlan(1, said)),
    );
    return makeShape('penalize', 1, rules);
  }

  #ruleOf(limit: Limit, plan: Plan): Rule {
    return { ...stateKeyOf(limit), home: this.#homeAt(limit.by), limit, plan };
  }

  #homeAt(by: HomeBy | undefined): number {
    return by === undefined ? 0 : this.homes.findIndex((home) => isSameBy(home, by));
  }
}

function notOfAHome(homes: readonly HomeBy[]): RateLimiterError {
  const forms = homes.map((by) => (by.length === 0 ? '{}' : `{ ${by.join(', ')} }`));
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    `\`identity\` must have exactly the parts that some limit counts by, none of them null: ${forms.join(' or ')}. Pass those of the counters that are meant.`,
  );
}

/** What a provider says is left under one of the set's limits. */
export interface ObservedQuota {
  readonly limit: Limit;
  readonly said: Said;
}

/** Whether a limit can be aligned with a provider's: places of a concurrency limit are not spent. */
export function heedsProviders(limit: AnyLimit): boolean {
  return limit.twin.lending === undefined;
}

/** Verbs that charge units, give those of a call back, or forget all of them. */
const HEEDING: ReadonlySet<Verb> = new Set([
  'allow',
  'peek',
  'up_to',
  'acquire',
  'reserve',
  'add',
  'settle',
  'reset',
]);

/** Verbs that decide about a cost. */
const DECIDING: ReadonlySet<Verb> = new Set([
  'allow',
  'grant',
  'peek',
  'acquire',
  'reserve',
  'add',
]);

/** Verbs whose refusals are counted for bans, and the one that forgets them. */
const BANNING: ReadonlySet<Verb> = new Set(['allow', 'up_to', 'acquire', 'reserve', 'reset']);

/** The bans of these limits, which come after their blocks. */
function bansOf(rules: readonly Rule[], blockRules: readonly Rule[]): readonly Rule[] {
  return rules.flatMap(({ limit, home = 0 }, i) => {
    if (limit.ban === undefined) {
      return [];
    }
    const blockAt = rules.length + blockRules.findIndex((rule) => rule.home === home);
    return [{ ...banOf(limit, limit.ban, i, blockAt), suffix: '', id: idOfBan(limit), home }];
  });
}

/** A lease takes one place, whatever the cost. */
function exceeds({ algorithm, capacity }: Limit, units: number): boolean {
  return algorithm !== 'concurrency' && units > capacity;
}

/** The shape that sets or lifts an identity's block. */
export function blockShape(verb: 'penalize' | 'reset', durationMs: number): Shape {
  return makeShape(verb, 1, [blockRule(durationMs * 1_000)]);
}

function blockRule(durationUs: number, home = 0): Rule {
  return { limit: block, plan: block.plan(durationUs, 0), suffix: '#block', id: '-', home };
}

/** The key prefix before the identity's digest. Under tags that all identities share, they say the namespace. */
function keyPrefixOf(namespace: string | undefined, limits: readonly Limit[]): string {
  const unnamed = limits.find(({ name }) => name === DEFAULT_LIMIT_NAME);
  const kind = unnamed === undefined ? 'limits' : unnamed.algorithm;
  return namespace === undefined ? `${kind}:` : `${namespace}:${kind}:`;
}

/**
 * Where the state of a limit is: in the home under this id, or else under a key with this suffix. The identity's key
 * before the suffix is in braces, so both are in one slot of a cluster.
 */
export function stateKeyOf(limit: Limit): Pick<Rule, 'suffix' | 'id'> {
  const { name, algorithm, twin } = limit;
  return twin.letter === undefined
    ? { suffix: `/${name}:${algorithm}`, id: '-' }
    : { suffix: '', id: `${name === DEFAULT_LIMIT_NAME ? '' : name}=${twin.letter}` };
}

function keyIn(by: HomeBy | undefined, suffix: string): string {
  return `${nameOfBy(by ?? [])}:${suffix}`;
}

/** The number of keys that hold the states of one identity under these limits. */
export function keyCountOf(limits: readonly Limit[], observes: boolean): number {
  // What a provider says is left is in the home.
  const quotas = observes ? limits.filter(heedsProviders) : [];
  return new Set([
    ...limits.map((limit) => keyIn(limit.by, stateKeyOf(limit).suffix)),
    ...quotas.map(({ by }) => keyIn(by, '')),
  ]).size;
}

/** Names a limit's state in texts: what follows the identity's key, or would if the state had a key of its own. */
export function stateNameOf({ name, algorithm }: AnyLimit): string {
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
export function maxCostOf(limits: readonly AnyLimit[]): number {
  return Math.min(
    ...limits
      .filter(({ shadow, algorithm }) => !shadow && algorithm !== 'concurrency')
      .map(({ capacity }) => capacity),
  );
}
