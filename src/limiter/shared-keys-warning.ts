import { digestIdentity } from '../base/identity.ts';
import { suffixOf } from './limit-set.ts';
import type { LimitSet } from './limit-set.ts';

/** What says which keys a limiter uses. */
interface KeySpace {
  readonly storeId: string | object;
  readonly limits: LimitSet;
  readonly hashSecret: string | Uint8Array | undefined;
}

/** The live limiters that use keys of one form, counted by the numbers that they limit by. */
interface KeyUsers {
  readonly byNumbers: Map<string, number>;
  warned: boolean;
}

/** By the form of the keys. */
type Spaces = Map<string, KeyUsers>;

const byObject = new WeakMap<object, Spaces>();
const byUrl = new Map<string, Spaces>();

/** Releases what a limiter used that was garbage-collected without having been closed. */
const collected = new FinalizationRegistry<() => void>((endUse) => endUse());

/**
 * Warns, once per key space, when two live limiters of one process share state but not numbers: almost always two
 * limits that were meant to be different ones. What they admit together stays within one extra burst. Call what it
 * returns when the limiter is closed, so that a configuration that is loaded again is not compared with the old one.
 */
export function warnOfSharedKeys(limiter: object, keySpace: KeySpace): () => void {
  const endUse = use(keySpace);
  collected.register(limiter, endUse, endUse);
  return () => {
    collected.unregister(endUse);
    endUse();
  };
}

/** Must not hold the limiter, or it would never be garbage-collected. */
function use({ storeId, limits, hashSecret }: KeySpace): () => void {
  const spaces = spacesOf(storeId);
  // Another secret makes other keys.
  const secret =
    hashSecret === undefined ? '' : digestIdentity('key space', hashSecret).slice(0, 8);
  const used: [space: string, numbers: string][] = [];
  for (const limit of limits.limits) {
    const space = `${limits.keyPrefix}${secret}…${suffixOf(limit)}`;
    const numbers = limit.plan(1, 0).args.join(' ');
    let users = spaces.get(space);
    if (users === undefined) {
      users = { byNumbers: new Map(), warned: false };
      spaces.set(space, users);
    }
    users.byNumbers.set(numbers, (users.byNumbers.get(numbers) ?? 0) + 1);
    used.push([space, numbers]);
    if (users.byNumbers.size > 1 && !users.warned) {
      users.warned = true;
      process.emitWarning(
        `Two limiters of this process share the keys '${space}' but limit by different numbers. ` +
          'Give one another `namespace`, or its limit another `name`.',
        { type: 'RateLimiterWarning', code: 'DRL_SHARED_KEYS' },
      );
    }
  }
  const url = typeof storeId === 'string' ? storeId : undefined;
  return () => {
    for (const [space, numbers] of used.splice(0)) {
      release(spaces, space, numbers);
    }
    if (url !== undefined && spaces.size === 0 && byUrl.get(url) === spaces) {
      byUrl.delete(url);
    }
  };
}

function release(spaces: Spaces, space: string, numbers: string): void {
  const users = spaces.get(space);
  const count = users?.byNumbers.get(numbers) ?? 0;
  if (count > 1) {
    users?.byNumbers.set(numbers, count - 1);
    return;
  }
  users?.byNumbers.delete(numbers);
  if (users?.byNumbers.size === 0) {
    spaces.delete(space);
  }
}

function spacesOf(place: string | object): Spaces {
  let spaces = typeof place === 'string' ? byUrl.get(place) : byObject.get(place);
  if (spaces === undefined) {
    spaces = new Map();
    if (typeof place === 'string') {
      byUrl.set(place, spaces);
    } else {
      byObject.set(place, spaces);
    }
  }
  return spaces;
}
