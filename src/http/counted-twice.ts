import { sharedByCopies } from '../base/copies.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import { chargedKeysOf } from '../limiter/charged-keys.ts';
import { digestIdentity, digestParts, readNamedParts } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';

/** The charges of one guard for a request, linked to those of earlier guards. */
interface Charge {
  readonly limiter: object;
  readonly limits: readonly AnyLimit[];
  readonly identity: AnyIdentity;
  readonly before: Charge | undefined;
  readonly count: number;
}

/** No application has this many guards for one request, so longer chains are not read. */
const MAX_CHARGES = 16;

const charges = sharedByCopies('charges by request', () => new WeakMap<object, Charge>());

/** The counters already warned of. */
const reported = sharedByCopies('keys counted twice', () => new Set<string>());

/**
 * Records that a request is charged, and warns, once per counter, if the request was charged under that counter
 * before.
 *
 * @param request the object that identifies the request under every guard
 * @param part the part of the request that is charged separately, such as one field of a GraphQL query
 */
export function noteCharge(
  request: unknown,
  part: object | undefined,
  limiter: object,
  limits: readonly AnyLimit[],
  identity: AnyIdentity,
): void {
  const subject = part ?? request;
  if (!isObject(subject)) {
    return;
  }
  const before = charges.get(subject);
  const count = (before?.count ?? 0) + 1;
  if (count <= MAX_CHARGES) {
    charges.set(subject, { limiter, limits, identity, before, count });
  }
  // The usual case: one guard.
  if (before === undefined && part === undefined) {
    return;
  }
  const twin =
    findTwin(before, limiter, limits, identity) ??
    (part === undefined || !isObject(request)
      ? undefined
      : findTwin(charges.get(request), limiter, limits, identity));
  if (twin !== undefined && !reported.has(twin.key)) {
    reported.add(twin.key);
    process.emitWarning(
      `A request was counted twice under the limit '${twin.name}': it met the same limiter, or another of the same ` +
        'numbers and namespace, two times. So callers get about half of what the limit allows. ' +
        'Mount the limiter once, or give each limiter its own `namespace`.',
      { type: 'RateLimiterWarning', code: 'DRL_COUNTED_TWICE' },
    );
  }
}

/** Drops the charges of a finished request, because its object may be reused for another request. */
export function forgetCharges(request: object): void {
  charges.delete(request);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function findTwin(
  from: Charge | undefined,
  limiter: object,
  limits: readonly AnyLimit[],
  identity: AnyIdentity,
): { readonly key: string; readonly name: string } | undefined {
  for (let charge = from; charge !== undefined; charge = charge.before) {
    const others = chargedKeysOf(charge.limiter, charge.limits);
    for (const [key, limit] of chargedKeysOf(limiter, limits)) {
      if (others.has(key) && isSameIdentity(charge.identity, identity, limit)) {
        return { key, name: limit.name };
      }
    }
  }
  return undefined;
}

/** Whether both identities have the same counter under a limit. */
function isSameIdentity(one: AnyIdentity, other: AnyIdentity, { by }: AnyLimit): boolean {
  if (by === undefined) {
    return one === other || counterOf(one) === counterOf(other);
  }
  const counter = counterOf(one, by);
  return counter !== undefined && counter === counterOf(other, by);
}

/** Undefined for limits that count by a part that there is none of: they are not consulted. */
function counterOf(identity: AnyIdentity, by?: readonly string[]): string | undefined {
  if (by === undefined) {
    return digestIdentity(identity as Identity, undefined);
  }
  const parts = readNamedParts(identity, Object.keys(identity));
  return by.some((part) => parts.get(part) === null)
    ? undefined
    : digestParts(parts, by, undefined);
}
