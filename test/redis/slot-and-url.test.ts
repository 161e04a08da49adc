import { describe, expect, test } from 'vitest';
import { slotOf } from '../../src/redis/slot.ts';
import { readRedisUrl } from '../../src/redis/url.ts';
import { slotOfKey } from '../kit/index.mjs';

describe('slotOf', () => {
  test.each([
    // Of the Redis Cluster specification, and of `CLUSTER KEYSLOT`.
    ['123456789', 0x31c3],
    ['', 0],
    ['foo', 12_182],
    ['{foo}bar', 12_182],
    ['bar{foo}', 12_182],
    ['{foo}{bar}', 12_182],
    ['foo{}bar', slotOfKey('foo{}bar')],
    ['{}foo', slotOfKey('{}foo')],
    ['foo{{bar}}zap', slotOfKey('{bar')],
    ['foo}{bar', slotOfKey('foo}{bar')],
    ['foo{bar', slotOfKey('foo{bar')],
    ['{', slotOfKey('{')],
  ])('of %j is %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });

  test('is the kit’s for ten thousand keys, and reaches every part of the range', () => {
    const slots = Array.from({ length: 10_000 }, (_, i) => {
      const key = i % 3 === 0 ? `{user:${i}}/limit:${i % 7}` : `user:${i * 7_919}`;
      expect(slotOf(key)).toBe(slotOfKey(key));
      return slotOf(key);
    });
    expect(Math.min(...slots)).toBeLessThan(20);
    expect(Math.max(...slots)).toBeGreaterThan(16_363);
  });
});

describe('readRedisUrl', () => {
  const plain = { host: '127.0.0.1', port: 6379, tls: false, database: 0 };
  test.each([
    ['redis://', plain],
    ['redis://localhost', { ...plain, host: 'localhost' }],
    ['redis://localhost/', { ...plain, host: 'localhost' }],
    ['redis://localhost:6380/15', { ...plain, host: 'localhost', port: 6_380, database: 15 }],
    ['rediss://redis.example.org', { ...plain, host: 'redis.example.org', tls: true }],
    ['REDIS://LOCALHOST', { ...plain, host: 'LOCALHOST' }],
    ['redis://[::1]:6380', { ...plain, host: '::1', port: 6_380 }],
    ['redis://:secret@localhost', { ...plain, host: 'localhost', password: 'secret' }],
    [
      'redis://user:p%40ss%2Fw%3Ard%25@localhost/2',
      { ...plain, host: 'localhost', username: 'user', password: 'p@ss/w:rd%', database: 2 },
    ],
    ['redis://user@localhost', { ...plain, host: 'localhost', username: 'user' }],
    ['unix:///run/redis.sock', { ...plain, host: '', port: 0, path: '/run/redis.sock' }],
    [
      'unix://user:secret@localhost/run/a%20b.sock?db=3',
      {
        host: '',
        port: 0,
        path: '/run/a b.sock',
        tls: false,
        database: 3,
        username: 'user',
        password: 'secret',
      },
    ],
  ])('%s', (url, address) => {
    const read = readRedisUrl(url);
    expect({ ...read, host: read.host.toLowerCase() }).toEqual({
      ...address,
      host: address.host.toLowerCase(),
    });
  });
});
