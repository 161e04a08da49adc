import { createHmac } from 'node:crypto';
import { digestIdentity, digestParts, readNamedParts } from '../base/identity.ts';
import type { AnyIdentity, Identity } from '../base/identity.ts';

const PARTITION_BYTES = 12;

/** The value of `pk` of a limit, by the parts that it counts by. */
export type PartitionOf = (by: readonly string[] | undefined) => string | undefined;

/**
 * The values of `pk` for an identity: of whole identities one for all limits, else one for each set of parts that limits
 * count by, and none for limits that count all together. Undefined without a secret. Hashed separately from every key:
 * even with the limiter's own secret it would reveal nothing about a key.
 */
export function partitionsOf(
  identity: AnyIdentity,
  secret: string | Uint8Array | undefined,
): PartitionOf | undefined {
  if (secret === undefined) {
    return undefined;
  }
  const known = new Map<string | undefined, string>();
  return (by) => {
    if (by?.length === 0) {
      return undefined;
    }
    const name = by?.join(' ');
    let partition = known.get(name);
    if (partition === undefined) {
      partition = createHmac('sha256', secret)
        .update('RateLimit;pk\0')
        .update(
          by === undefined
            ? digestIdentity(identity as Identity, undefined)
            : digestParts(readNamedParts(identity, Object.keys(identity)), by, undefined),
        )
        .digest()
        .subarray(0, PARTITION_BYTES)
        .toString('base64');
      known.set(name, partition);
    }
    return partition;
  };
}
