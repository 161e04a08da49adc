import { createHash, createHmac } from 'node:crypto';
import { digestIdentity } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';

const DIGITS = 16;

/**
 * The first 16 digits of an identity's digest. That of a whole identity is in its keys in Redis. Named parts are
 * digested with their names, in the order of the names; a part that is null is left out.
 */
export function callerDigest(
  identity: AnyIdentity,
  secret: string | Uint8Array | undefined,
): string {
  if (typeof identity !== 'object' || Array.isArray(identity)) {
    return digestIdentity(identity as Identity, secret).slice(0, DIGITS);
  }
  const parts = Object.entries(identity)
    .filter(([, part]) => part !== null && part !== undefined)
    .map(([name, part]) => [name, String(part)])
    .toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1));
  const text = JSON.stringify(parts);
  const digest = secret === undefined ? createHash('sha256') : createHmac('sha256', secret);
  return digest.update(text).digest('hex').slice(0, DIGITS);
}
