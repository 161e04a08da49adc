import { sharedByCopies } from '../base/copies.ts';
import { digestIdentity } from '../base/identity.ts';
import { stateNameOf } from './limit-set.ts';
import type { LimitSet } from './limit-set.ts';

/** The parts of a limiter that determine its keys. */
interface KeySpace {
  readonly storeId: string | object;
  readonly limits: LimitSet;
  readonly hashSecret: string | Uint8Array | undefined;
}

/** The number of live limiters with the same key form, for each set of numbers. */
interface KeyUsers {
  readonly byNumbers: Map<string, number>;
  warned: boolean;
}

/** Users by key form. */
type Spaces = Map<string, KeyUsers>;

const byObject = sharedByCopies('key spaces by store', () => new WeakMap<object, Spaces>());
const byUrl = sharedByCopies('key spaces by URL', () => new Map<string, Spaces>());

/** Ends the use of a limiter that was garbage-collected without `close()`. */
const collected = new FinalizationRegistry<() => void>((endUse) => endUse());

/**
 * Warns once per key form if two live limiters of one process share state but not numbers: almost always two limits
 * that were meant to be separate. Together they admit at most one extra burst. Returns a function to call when the
 * limiter is closed, so that a reloaded configuration is not compared with the old one.
 */
export function warnOfSharedKeys(limiter: object, keySpace: KeySpace): () => void {
  const endUse = recordUse(keySpace);
  collected.register(limiter, endUse, endUse);
  return () => {
    collected.unregister(endUse);
    endUse();
  };
}

/** Must not reference the limiter, or it would never be garbage-collected. */
function recordUse({ storeId, limits, hashSecret }: KeySpace): () => void {
  const spaces = spacesOf(storeId);
  // Another secret makes other keys.
  const secret =
    hashSecret === undefined ? '' : digestIdentity('key space', hashSecret).slice(0, 8);
  const used: [space: string, numbers: string][] = [];
  for (const limit of limits.limits) {
    const space = `${limits.formOf(limit)}${secret}…${stateNameOf(limit)}`;
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

function spacesOf(storeId: string | object): Spaces {
  let spaces = typeof storeId === 'string' ? byUrl.get(storeId) : byObject.get(storeId);
  if (spaces === undefined) {
    spaces = new Map();
    if (typeof storeId === 'string') {
      byUrl.set(storeId, spaces);
    } else {
      byObject.set(storeId, spaces);
    }
  }
  return spaces;
}
