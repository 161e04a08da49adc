import { describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { ClusterTags } from '../../../src/limiter/cluster-tags.ts';
import type { TagCount } from '../../../src/limiter/cluster-tags.ts';
import { slotOf } from '../../../src/redis/connection/slot.ts';
import { check } from '../../kit/random.mjs';

const COUNTS: readonly TagCount[] = [16, 64, 256];
const SLOTS = 16_384;

/** The heads of all tags: the first byte of a digest chooses one. */
function headsOf(namespace: string, count: TagCount): readonly string[] {
  const tags = new ClusterTags(namespace, count);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
  return bytes.map((byte) => tags.headOf(byte + '0'.repeat(62)));
}

describe.each(COUNTS)('%i hash tags', (count) => {
  test('are equally far apart in the slots of a cluster, whatever the namespace', () =>
    check(100, (random) => {
      const namespace = random
        .list(1, 64, () => random.pick(['A', 'z', '0', '9', '.', '_', '/', '-']))
        .join('');
      const slots = [...new Set(headsOf(namespace, count))].map(slotOf).sort((a, b) => a - b);
      expect(slots).toHaveLength(count);
      const gaps = slots.map((slot, i) => slot - (slots[i - 1] ?? slots.at(-1)! - SLOTS));
      expect(new Set(gaps)).toEqual(new Set([SLOTS / count]));
    }));

  test('have as many of all digests each', () => {
    const digests = new Map<string, number>();
    for (const head of headsOf('api', count)) digests.set(head, (digests.get(head) ?? 0) + 1);
    expect(new Set(digests.values())).toEqual(new Set([256 / count]));
  });
});

test('tags of different numbers have no key in common', () => {
  const heads = COUNTS.map((count) => new Set(headsOf('api', count)));
  expect(new Set(heads.flatMap((all) => [...all])).size).toBe(16 + 64 + 256);
});

test.each([
  [
    { tags: 32 },
    '`cluster.tags` must be 16, 64 or 256, got 32. Choose at least 4 for each primary, and at most a quarter of the calls that a process has in flight.',
  ],
  [
    { tags: '16' },
    '`cluster.tags` must be 16, 64 or 256, got "16". Choose at least 4 for each primary, and at most a quarter of the calls that a process has in flight.',
  ],
  [
    {},
    '`cluster.tags` must be 16, 64 or 256, got undefined. Choose at least 4 for each primary, and at most a quarter of the calls that a process has in flight.',
  ],
  [
    { tags: 16, enabled: 'no' },
    '`cluster.enabled` must be true or false, got "no". Pass a boolean.',
  ],
  [{ hashTags: 16 }, '`hashTags` is not an option of cluster, got 16. Did you mean `tags`?'],
  [
    '16',
    '`cluster` must be true, false or an object of options, got "16". Write `cluster: true`, or `cluster: { tags: 64 }`.',
  ],
  [
    null,
    '`cluster` must be true, false or an object of options, got null. Write `cluster: true`, or `cluster: { tags: 64 }`.',
  ],
])('the option cluster refuses %j with the rule and the cure', (cluster, message) => {
  const make = () =>
    new RateLimiter({ redis: 'redis://127.0.0.1:1', rate: 1, period: '1s', cluster } as never);
  expect(make).toThrow(message);
});

test.each([
  [
    'a proxy that shards',
    { redis: 'redis://127.0.0.1:1', sharding: 'hash_tag' },
    /`sharding` must be left out where `cluster` has `tags`/,
  ],
  [
    'limits without a common part',
    {
      redis: 'redis://127.0.0.1:1',
      limits: [
        { by: 'user', name: 'a' },
        { by: 'ip', name: 'b' },
      ],
    },
    /`limits` must have a part of the identity in common where `cluster` has `tags`, so that all keys of a call have the same one, but the limit "a" counts by user and the limit "b" by ip/,
  ],
])('tags cannot be combined with %s', (_, options, message) => {
  const { limits, ...others } = options as { limits?: readonly object[] };
  const numbers = { rate: 1, period: '1s' } as const;
  const make = () =>
    new RateLimiter({
      cluster: { tags: 16 },
      ...others,
      ...(limits === undefined
        ? numbers
        : { limits: limits.map((each) => tokenBucket({ ...numbers, ...each })) }),
    } as never);
  expect(make).toThrow(message);
});
