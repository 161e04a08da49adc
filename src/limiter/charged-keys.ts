import { sharedByCopies } from '../base/copies.ts';
import type { AnyLimit } from '../algorithms/limit.ts';
import { digestIdentity } from '../base/identity.ts';
import { stateNameOf } from './limit-set.ts';

/** The store, namespace and secret that determine where a limiter's state lives. */
interface StateLocation {
  readonly storeId: string | object;
  /** The form of the key under which the state of a limit is. */
  readonly formOf: (limit: AnyLimit) => string;
  readonly hashSecret: string | Uint8Array | undefined;
}

const LOCATIONS = Symbol.for('distributed-rate-limiter.keepings');

/** Shared by all copies of the package in this process: an adapter of one copy may be given a limiter of another. */
const locations = ((globalThis as { [LOCATIONS]?: WeakMap<object, StateLocation> })[LOCATIONS] ??=
  new WeakMap<object, StateLocation>());
const known = new WeakMap<object, WeakMap<readonly AnyLimit[], ReadonlyMap<string, AnyLimit>>>();
const stores = sharedByCopies('store numbers', () => ({
  numbers: new WeakMap<object, number>(),
  seen: 0,
}));

/** Remembers where a limiter keeps its state, for `chargedKeysOf`. */
export function rememberLocation(limiter: object, location: StateLocation): void {
  locations.set(limiter, location);
}

/**
 * Lists the counters that a limiter charges under these limits: a text of store, key form and numbers for each limit
 * → the limit. Two limiters with a text in common charge the same counter for the same identity.
 */
export function chargedKeysOf(
  limiter: object,
  limits: readonly AnyLimit[],
): ReadonlyMap<string, AnyLimit> {
  let bySet = known.get(limiter);
  if (bySet === undefined) {
    bySet = new WeakMap();
    known.set(limiter, bySet);
  }
  let charged = bySet.get(limits);
  if (charged === undefined) {
    const location = locations.get(limiter);
    // An older copy of the package records no location: then a limiter shares counters only with itself.
    const { storeId, formOf, hashSecret } = location ?? {
      storeId: limiter,
      formOf: noForm,
      hashSecret: undefined,
    };
    const prefix = `${storeNumberOf(storeId)} ${digestOfSecret(hashSecret)} `;
    charged = new Map(
      limits.map((limit) => [prefix + formOf(limit) + describeLimit(limit), limit]),
    );
    bySet.set(limits, charged);
  }
  return charged;
}

/**
 * Key forms and numbers of all limits as one text. It leaves out the store, which may be new for otherwise equal
 * limiters.
 */
export function configurationOf(limiter: object, limits: readonly AnyLimit[]): string {
  const formOf = locations.get(limiter)?.formOf ?? noForm;
  return limits.map((limit) => formOf(limit) + describeLimit(limit)).join('\n');
}

function noForm(): string {
  return '';
}

function describeLimit(limit: AnyLimit): string {
  return `${stateNameOf(limit)} ${limit.algorithm} ${limit.plan(1, 0).args.join(' ')}`;
}

function storeNumberOf(storeId: string | object): string {
  if (typeof storeId === 'string') {
    return storeId;
  }
  let number = stores.numbers.get(storeId);
  if (number === undefined) {
    number = stores.seen++;
    stores.numbers.set(storeId, number);
  }
  return String(number);
}

/** A hash of the secret: another secret makes other keys. */
function digestOfSecret(hashSecret: StateLocation['hashSecret']): string {
  return hashSecret === undefined ? '' : digestIdentity('key space', hashSecret);
}
