import type { AnyLimit } from '../algorithms/limit.ts';
import { RateLimiterError, show } from '../base/errors.ts';
import { digestIdentity, digestParts, faultOfIdentity, readNamedParts } from '../base/identity.ts';
import type { NamedParts } from '../base/identity.ts';
import type { ClusterTags } from './cluster-tags.ts';

/** The names of the parts that a home counts by, sorted. */
export type HomeBy = readonly string[];

type Secret = string | Uint8Array | undefined;

/** Where limits that say `by` keep their states: a home per set of parts, all of them under one hash tag. */
export interface Homes {
  readonly namespace: string;
  /** The parts of the hash tag, sorted. Without one, each home of an identity is in a slot of its own. */
  readonly tag: HomeBy;
  /** Present if all identities share so many hash tags: then those parts only choose one of them. */
  readonly shared: ClusterTags | undefined;
}

/** A text that two sets of parts have in common only if they are equal. */
export function nameOfBy(by: HomeBy): string {
  return by.join(' ');
}

export function isSameBy(one: HomeBy, other: HomeBy): boolean {
  return nameOfBy(one) === nameOfBy(other);
}

export function isOneOf(homes: readonly HomeBy[], by: HomeBy | undefined): boolean {
  return by !== undefined && homes.some((home) => isSameBy(home, by));
}

/** Each home once, in order. */
export function distinct(homes: readonly HomeBy[]): readonly HomeBy[] {
  return homes.filter((by, i) => homes.findIndex((each) => isSameBy(each, by)) === i);
}

/** The homes of these limits, each once, in the order of the limits. */
export function homesOf(limits: readonly AnyLimit[]): readonly HomeBy[] {
  return distinct(limits.flatMap(({ by }) => (by === undefined ? [] : [by])));
}

/** The names of all parts that these limits count by, sorted. */
export function partsOf(limits: readonly AnyLimit[]): HomeBy {
  return [...new Set(limits.flatMap(({ by = [] }) => by))].sort();
}

/**
 * Checks that all of a limiter's limits say `by`, or none, and that each counts by all parts of `tagBy`. Returns the
 * parts of the hash tag: `tagBy`, or those that all limits have in common; undefined if no limit says `by`.
 */
export function readTag(
  limits: readonly AnyLimit[],
  tagBy: HomeBy | undefined,
): HomeBy | undefined {
  checkAllBy(limits);
  const first = limits[0]?.by;
  if (first === undefined) {
    if (tagBy !== undefined) {
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        '`tagBy` must be left out where no limit says `by`, got it. Say in each limit which parts it counts by.',
      );
    }
    return undefined;
  }
  if (tagBy !== undefined) {
    checkTag(limits, tagBy, 'tagBy');
    return tagBy;
  }
  return first.filter((part) => limits.every(({ by }) => by?.includes(part)));
}

/** Checks that the limits of a call say `by` as the limiter's own do, and count by all parts of the hash tag. */
export function checkPlanBy(limits: readonly AnyLimit[], tag: HomeBy | undefined): void {
  const odd = limits.find(({ by }) => (by === undefined) !== (tag === undefined));
  if (odd !== undefined) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      tag === undefined
        ? `\`limits\` of a call must not say \`by\` where the limiter's own do not, but ${quote(odd)} does. Leave \`by\` out.`
        : `\`limits\` of a call must say \`by\` where the limiter's own do, but ${quote(odd)} does not. Say which parts it counts by; \`by: []\` is one counter for all.`,
    );
  }
  checkTag(limits, tag ?? [], 'limits');
}

function checkAllBy(limits: readonly AnyLimit[]): void {
  const named = limits.find(({ by }) => by !== undefined);
  const whole = limits.find(({ by }) => by === undefined);
  if (named !== undefined && whole !== undefined) {
    throw new RateLimiterError(
      'ERR_INVALID_OPTION',
      `\`limits\` must say \`by\` in each limit or in none, but ${quote(named)} does and ${quote(whole)} does not. Say which parts it counts by; \`by: []\` is one counter for all.`,
    );
  }
}

function checkTag(limits: readonly AnyLimit[], tag: HomeBy, option: 'tagBy' | 'limits'): void {
  for (const limit of limits) {
    const lacking = tag.find((part) => !limit.by!.includes(part));
    if (lacking !== undefined) {
      throw new RateLimiterError(
        'ERR_INVALID_OPTION',
        option === 'tagBy'
          ? `\`tagBy\` must name parts that all limits count by, but ${quote(limit)} does not count by ${show(lacking)}. Leave that part out, or add it to \`by\`.`
          : `\`limits\` of a call must count by all parts of the hash tag that the limiter's keys share, but ${quote(limit)} does not count by ${show(lacking)}. Add it to \`by\`, or give the limiter \`tagBy\` without it, which moves all states.`,
      );
    }
  }
}

export const ON_A_CLUSTER = 'on a Redis Cluster, where all keys of a call are in one slot';
export const BEHIND_HASH_TAGS =
  "where `sharding` is 'hash_tag', so that all keys of a call are on one server";
export const UNDER_SHARED_TAGS =
  'where `cluster` has `tags`, so that all keys of a call have the same one';

/**
 * The error for limits whose homes are in slots of their own, `where` all keys of a call must be in one; undefined if
 * they are in one. Names two of them. Leaves out what is no limit of an identity, as a block.
 */
export function slotsApart(
  limits: readonly AnyLimit[],
  tag: HomeBy | undefined,
  where: string,
): RateLimiterError | undefined {
  const counting = limits.filter(({ by }) => by !== undefined);
  if (tag === undefined || tag.length > 0 || homesOf(counting).length < 2) {
    return undefined;
  }
  const [one, other] = twoApart(counting);
  return new RateLimiterError(
    'ERR_INVALID_OPTION',
    `\`limits\` must have a part of the identity in common ${where}, but ${quote(one)} counts ${say(one.by!)} and ${quote(other)} ${say(other.by!)}. Add a common part to the \`by\` of each, and leave \`tagBy: []\` out; or give each a limiter of its own.`,
  );
}

/** Throws the error of `slotsApart`, if it is known before the first call that keys have to be in one slot. */
export function checkSlots(
  limits: readonly AnyLimit[],
  tag: HomeBy | undefined,
  oneSlot: string | undefined,
): void {
  const apart = oneSlot === undefined ? undefined : slotsApart(limits, tag, oneSlot);
  if (apart !== undefined) {
    throw apart;
  }
}

/** Two limits that have no part in common; else, under `tagBy: []`, two of different parts. */
function twoApart(limits: readonly AnyLimit[]): readonly [AnyLimit, AnyLimit] {
  for (const [i, one] of limits.entries()) {
    const other = limits.slice(i + 1).find(({ by }) => !by!.some((part) => one.by!.includes(part)));
    if (other !== undefined && !isSameBy(one.by!, other.by!)) {
      return [one, other];
    }
  }
  const [one] = limits;
  return [one!, limits.find(({ by }) => !isSameBy(by!, one!.by!))!];
}

function quote({ name }: AnyLimit): string {
  return `the limit ${show(name)}`;
}

function say(by: HomeBy): string {
  return by.length === 0 ? 'by no part' : `by ${by.join(', ')}`;
}

/**
 * Why a value is no identity for a call under these limits of a limiter with these of its own; undefined if it is one.
 */
export function faultUnder(
  own: readonly AnyLimit[],
  limits: readonly AnyLimit[],
  identity: unknown,
): RateLimiterError | undefined {
  if (own[0]?.by === undefined) {
    return faultOfIdentity(identity);
  }
  try {
    const parts = readNamedParts(identity, partsOf([...own, ...limits]));
    const consulted = limits.length === 0 ? own : limits;
    return consulted.some(({ by }) => by?.every((part) => parts.get(part) !== null))
      ? undefined
      : nothingConsulted();
  } catch (error) {
    return error as RateLimiterError;
  }
}

export function nothingConsulted(): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_IDENTITY',
    '`identity` must have the parts of at least one limit, but for each limit one of them is null. Pass one that is known for every caller, such as the address.',
  );
}

/** The key of each home, by the parts that an identity gives. */
export function homeKeys(
  space: Homes,
  homes: readonly HomeBy[],
  parts: NamedParts,
  secret: Secret,
): readonly string[] {
  return keysIn(space, homes, (by) => digestParts(parts, by, secret));
}

/** Keys of the same form that no identity has, for a call that only tries the store. */
export function keysOfProbe(
  space: Homes,
  homes: readonly HomeBy[],
  probe: readonly string[],
  secret: Secret,
): readonly string[] {
  return keysIn(space, homes, (by) => digestIdentity([...probe, ...by], secret));
}

function keysIn(
  { namespace, tag, shared }: Homes,
  homes: readonly HomeBy[],
  digestOf: (by: HomeBy) => string,
): readonly string[] {
  if (tag.length === 0 && shared === undefined) {
    return homes.map((by) => `${namespace}:limits:${digestOf(by)}`);
  }
  // Without common parts there is one home.
  const tagged = tag.length === 0 ? homes[0]! : tag;
  const ofTag = digestOf(tagged);
  const head =
    shared === undefined ? `{${namespace}:limits:${ofTag}}:` : `${shared.headOf(ofTag)}limits:`;
  return homes.map((by) => head + (by.length === tagged.length ? ofTag : digestOf(by)));
}

/** The form of the keys of one home, without digests: equal for two limiters if their identities share these keys. */
export function formOfHome({ namespace, tag, shared }: Homes, by: HomeBy): string {
  const prefix = `${namespace}:limits:`;
  const head =
    shared === undefined ? `{${prefix}${tag.join()}}:` : `${shared.form}${tag.join()}:limits:`;
  return `${tag.length === 0 && shared === undefined ? prefix : head}${by.join()}`;
}
