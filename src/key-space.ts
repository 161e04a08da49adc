import { digestIdentity } from './identity.ts';
import { suffixOf } from './limit-set.ts';
import type { LimitSet } from './limit-set.ts';

/** What says which keys a limiter uses. */
interface KeySpace {
  readonly place: string | object;
  readonly limits: LimitSet;
  readonly hashSecret: string | Uint8Array | undefined;
}

/** Of each place where state lives: the numbers of every limit that was ever set on it, by the form of its keys. */
const byObject = new WeakMap<object, Map<string, string>>();
const byUrl = new Map<string, Map<string, string>>();

/**
 * Warns, once per key space, when two limiters of one process share state but not numbers: almost always two
 * limits that were meant to be different ones. What they admit together stays within one extra burst.
 */
export function noteKeySpace({ place, limits, hashSecret }: KeySpace): void {
  const spaces = spacesOf(place);
  // Another secret makes other keys.
  const secret =
    hashSecret === undefined ? '' : digestIdentity('key space', hashSecret).slice(0, 8);
  for (const limit of limits.limits) {
    const space = `${limits.keyPrefix}${secret}…${suffixOf(limit)}`;
    const numbers = limit.plan(1, 0).args.join(' ');
    const others = spaces.get(space);
    if (others === undefined) {
      spaces.set(space, numbers);
    } else if (others !== numbers && others !== WARNED) {
      spaces.set(space, WARNED);
      process.emitWarning(
        `Two limiters of this process share the keys '${space}' but limit by different numbers. ` +
          'Give one another `namespace`, or its limit another `name`.',
        { type: 'RateLimiterWarning', code: 'DRL_SHARED_KEYS' },
      );
    }
  }
}

const WARNED = 'warned';

function spacesOf(place: string | object): Map<string, string> {
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
