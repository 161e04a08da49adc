import { createHmac } from 'node:crypto';
import { digestIdentity } from '../base/identity.ts';
import type { Identity } from '../base/identity.ts';

const PARTITION_BYTES = 12;

/**
 * The value of `pk` for an identity; undefined without a secret. Hashed separately from every key: even with the
 * limiter's own secret it would reveal nothing about a key.
 */
export function partitionOf(
  identity: Identity,
  secret: string | Uint8Array | undefined,
): string | undefined {
  return secret === undefined
    ? undefined
    : createHmac('sha256', secret)
        .update('RateLimit;pk\0')
        .update(digestIdentity(identity, undefined))
        .digest()
        .subarray(0, PARTITION_BYTES)
        .toString('base64');
}
