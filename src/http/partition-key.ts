import { createHmac } from 'node:crypto';
import { digestIdentity } from '../base/identity.ts';
import type { Identity } from '../base/identity.ts';

const PARTITION_BYTES = 12;

/**
 * What `pk` says of an identity; nothing without a secret. Apart from every key: were the secret the limiter's own,
 * it would still say nothing about one.
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
