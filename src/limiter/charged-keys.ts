import type { Limit } from '../algorithms/limit.ts';
import { digestIdentity } from '../base/identity.ts';
import { keyPrefixOf, suffixOf } from './limit-set.ts';

/** Where a limiter's state lives, and under which names. */
interface StateLocation {
  readonly storeId: string | object;
  readonly namespace: string;
  readonly hashSecret: string | Uint8Array | undefined;
}

const LOCATIONS = Symbol.for('distributed-rate-limiter.keepings');

/** Shared by all copies of the package in this process: an adapter of one may be given a limiter of another. */
const locations = ((globalThis as { [LOCATIONS]?: WeakMap<object, StateLocation> })[LOCATIONS] ??=
  new WeakMap<object, StateLocation>());
const known = new WeakMap<object, WeakMap<readonly Limit[], ReadonlyMap<string, string>>>();
const places = new WeakMap<object, number>();
let placesSeen = 0;

/** Remembers where a limiter keeps its state, for `chargedKeysOf`. */
export function rememberLocation(limiter: object, keeping: StateLocation): void {
  locations.set(limiter, keeping);
}

/**
 * What a limiter charges under these limits: for each limit its place, key form and numbers as one text, with the name
 * of the limit. Two limiters that have such a text in common charge one counter for one identity.
 */
export function chargedKeysOf(
  limiter: object,
  limits: readonly Limit[],
): ReadonlyMap<string, string> {
  let bySet = known.get(limiter);
  if (bySet === undefined) {
    bySet = new WeakMap();
    known.set(limiter, bySet);
  }
  let charged = bySet.get(limits);
  if (charged === undefined) {
    const keeping = locations.get(limiter);
    // An older copy of the package does not say: then a limiter has only itself in common with others.
    const { storeId, namespace, hashSecret } = keeping ?? {
      storeId: limiter,
      namespace: '',
      hashSecret: undefined,
    };
    const prefix = `${storeNumberOf(storeId)} ${secretOf(hashSecret)} ${keyPrefixOf(namespace, limits)}`;
    charged = new Map(limits.map((limit) => [prefix + numbersOf(limit), limit.name]));
    bySet.set(limits, charged);
  }
  return charged;
}

/** The same of all limits together without the place, which may be a new one for limiters that are otherwise equal. */
export function configurationOf(limiter: object, limits: readonly Limit[]): string {
  const namespace = locations.get(limiter)?.namespace ?? '';
  return [keyPrefixOf(namespace, limits), ...limits.map(numbersOf)].join('\n');
}

function numbersOf(limit: Limit): string {
  return `${suffixOf(limit)} ${limit.algorithm} ${limit.plan(1, 0).args.join(' ')}`;
}

function storeNumberOf(place: string | object): string {
  if (typeof place === 'string') {
    return place;
  }
  let number = places.get(place);
  if (number === undefined) {
    number = placesSeen++;
    places.set(place, number);
  }
  return String(number);
}

/** Another secret makes other keys. */
function secretOf(hashSecret: StateLocation['hashSecret']): string {
  return hashSecret === undefined ? '' : digestIdentity('key space', hashSecret);
}
