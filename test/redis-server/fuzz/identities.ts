import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import type { Identity } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { digestIdentity } from '../../../src/base/identity.ts';
import type { Random } from '../../kit/random.mjs';
import { Finding, ownError } from './area.ts';
import type { Area } from './area.ts';
import { hostileArray } from '../../kit/fakes/values.ts';
import { anyText, anyValue } from './values.ts';

/** Checks an identity a second way. */
function isRight(identity: unknown): identity is Identity {
  const parts: unknown = Array.isArray(identity) ? identity : [identity];
  if (!Array.isArray(parts) || parts.length === 0) return false;
  let bytes = 0;
  for (const given of parts) {
    const part = asText(given);
    if (typeof part !== 'string' || part.length === 0) return false;
    try {
      bytes += encodeURIComponent(part).replaceAll(/%../g, '.').length;
    } catch {
      return false; // half of a surrogate pair
    }
  }
  return bytes <= 1_024;
}

function asText(part: unknown): unknown {
  const whole =
    typeof part === 'bigint' ||
    (typeof part === 'number' && Math.abs(part) < 2 ** 53 && part % 1 === 0 && 1 / part !== -1 / 0);
  return whole ? part.toString() : part;
}

/** Writes every part as text: two identities with equal texts are one. */
function inText(identity: Identity): string {
  return JSON.stringify(typeof identity === 'object' ? identity.map(asText) : asText(identity));
}

function anyIdentity(random: Random): unknown {
  switch (random.int(0, 9)) {
    case 0:
    case 1:
      return anyValue(random);
    case 2:
      return Array.from({ length: random.int(0, 5) }, () => anyValue(random, 1));
    case 3:
      return Array.from({ length: random.int(0, 1_100) }, () => random.pick(['a', 'b', 'é']));
    case 4:
      return random.pick(['x', 'é', '€', '😀', '\ud800']).repeat(random.int(0, 1_100));
    case 5:
    case 6:
      // Lists of texts that are equal when joined: no two of them may be one identity.
      return Array.from({ length: random.int(1, 3) }, () =>
        random.pick(['a', 'b', 'ab', '\0', '\0\0\0\u0001a', ',', 'a,b', '["a"]']),
      );
    case 7:
      return random.chance(5) ? hostileArray : random.pick(['a', 'ab', 'aab', 'a,b', '["a"]', 'b']);
    default:
      return anyText(random);
  }
}

/** Whether reading the identity throws, which is the caller's own error. */
function isHostile(identity: unknown): boolean {
  try {
    JSON.stringify(identity, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    return false;
  } catch {
    return true;
  }
}

/** Any identity gives a decision, or an error that says what is wrong without quoting the identity. */
export const identities: Area = {
  name: 'identities',
  percent: 20,

  open() {
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock(), maxKeys: 10_000_000 }),
      rate: 1_000_000_000,
      period: '1ms',
    });
    const guard = createGuard<{ readonly who: unknown }>(limiter, {
      identify: ({ who }) => who as string,
    });
    return {
      async run(random) {
        const [identity, other] = [anyIdentity(random), anyIdentity(random)];
        const hostile = isHostile(identity);
        const right = !hostile && isRight(identity);
        const verb = random.pick(['allow', 'peek', 'reset'] as const);
        try {
          const decision = await limiter[verb](identity as string);
          if (!right) throw new Finding(`${verb} took what is no identity`, identity);
          if (decision?.degraded === true) throw new Finding('degraded', identity);
        } catch (error) {
          if (error instanceof Finding) throw error;
          const { code, message } = ownError(error, identity);
          if (right || code !== 'ERR_INVALID_IDENTITY' || message.length > 400) {
            throw new Finding(`${verb}: ${code} ${message}`, identity, error);
          }
        }
        const verdict = await guard.check({ who: identity });
        // The guard awaits a promise; a limiter rejects it.
        const who: unknown = !hostile && identity instanceof Promise ? await identity : identity;
        if (verdict.pass !== (!hostile && isRight(who))) {
          throw new Finding(`the guard lets it ${verdict.pass ? 'pass' : 'not pass'}`, identity);
        }
        if (!verdict.pass && verdict.status !== 400) {
          throw new Finding(`the guard answers ${verdict.status}`, identity);
        }
        if (right && !isHostile(other) && isRight(other)) {
          const same = inText(identity) === inText(other);
          if (same !== (digestIdentity(identity, undefined) === digestIdentity(other, undefined))) {
            throw new Finding('two identities are one, or one is two', [identity, other]);
          }
        }
      },
      close: () => limiter.close(),
    };
  },
};
