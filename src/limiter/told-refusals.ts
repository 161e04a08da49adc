import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Decision } from '../base/decision.ts';
import { digestIdentity, digestParts, readNamedParts } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';

const MINUTE_US = 60_000_000;
/** About 2 MB. Beyond them the oldest is forgotten, and told again. */
const MOST_REFUSALS = 10_000;

/** Of this process alone, so that the digests kept in memory reveal no identity. Made when the first one is needed. */
let secret: Uint8Array | undefined;

/** The refusals that a limiter has told its `onBlock` within the last minute. */
export class ToldRefusals {
  readonly #clock: Clock;
  /** When each was told, in microseconds. The oldest comes first. */
  readonly #toldAt = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this identity's refusal under these limits was told within the last minute. If not, it is told now. */
  isRepeated(identity: AnyIdentity, decision: Decision): boolean {
    const digest = digestOf(identity);
    if (digest === undefined) {
      return false;
    }
    const numbers = decision.limits.map(({ name, limit }) => `${name}=${limit}`).join(' ');
    // That a ban has started is news.
    const key = `${digest} ${numbers}${'bannedForMs' in decision ? ' ban' : ''}`;
    const now = this.#clock.nowMicros();
    const before = this.#toldAt.get(key);
    // A test's clock may be set back.
    if (before !== undefined && before <= now && now - before < MINUTE_US) {
      return true;
    }
    this.#toldAt.delete(key);
    this.#toldAt.set(key, now);
    if (this.#toldAt.size > MOST_REFUSALS) {
      this.#toldAt.delete(this.#toldAt.keys().next().value!);
    }
    return false;
  }
}

/** Undefined if the caller has changed the identity since its call. */
function digestOf(identity: AnyIdentity): string | undefined {
  secret ??= randomBytes(32);
  try {
    if (typeof identity !== 'object' || Array.isArray(identity)) {
      return digestIdentity(identity as Identity, secret);
    }
    const parts = readNamedParts(identity, Object.keys(identity));
    const given = [...parts.keys()].filter((name) => parts.get(name) !== null).sort();
    return digestParts(parts, given, secret);
  } catch {
    return undefined;
  }
}
