import { keysOf } from '../script/call-shape.ts';
import type { Entry } from '../script/call-shape.ts';
import { invalidOption } from '../base/errors.ts';

/**
 * How a proxy or a client chooses among several servers: by the whole first key of a script call (`'key'`), or by the
 * part of that key in braces (`'hash_tag'`).
 */
export type Sharding = 'key' | 'hash_tag';

/** Keys of the same shard are on the same server, so they may share a script call. */
export function shardOf(sharding: Sharding, entry: Entry): string {
  if (sharding === 'key') {
    return keysOf(entry)[0]!;
  }
  const { key } = entry;
  return key.startsWith('{') ? key.slice(1, key.indexOf('}')) : key;
}

/** Refuses a call with several keys, because all of them would be read and written on the server of the first. */
export function checkSharding(
  sharding: Sharding | undefined,
  option: 'limits' | 'blocks' | 'prepay' | 'reserve',
  keys: number,
): void {
  if (sharding === 'key' && keys > 1) {
    throw invalidOption(
      'sharding',
      `'hash_tag' for ${REASONS[option]}, which needs ${keys} keys in one script call`,
      sharding,
      `Let the proxy hash what stands between braces only (Twemproxy: \`hash_tag: "{}"\`; Envoy: \`enable_hashtagging: true\`) and set \`sharding: 'hash_tag'\`, or ${CURES[option]}.`,
    );
  }
}

const REASONS = {
  limits: 'a call under limits that do not share a key',
  blocks: 'a limiter with `blocks: true`',
  prepay: 'a limiter with `prepay`',
  reserve: 'a reservation',
} as const;

const CURES = {
  limits: 'keep to token buckets and windows, which share a key, or to one limit per limiter',
  blocks: 'leave `blocks` out',
  prepay: 'leave `prepay` out',
  reserve: 'call `allow`',
} as const;
