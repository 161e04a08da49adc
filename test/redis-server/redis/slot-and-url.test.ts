import { describe, expect, test } from 'vitest';
import { slotOf } from '../../../src/redis/connection/slot.ts';
import { readRedisUrl } from '../../../src/redis/clients/url.ts';
import { slotOfKey } from '../../kit/servers/index.mjs';

describe('slotOf', () => {
  test.each([
    // Slots from the Redis Cluster specification, and from `CLUSTER KEYSLOT`.
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
  ])('the slot of %j is %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });

  test('agrees with the test kit for ten thousand keys and covers the whole range', () => {
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
    [
      'redis://redis.railway.internal?family=0',
      { ...plain, host: 'redis.railway.internal', family: 0 },
    ],
    ['rediss://h/2?family=6', { ...plain, host: 'h', tls: true, database: 2, family: 6 }],
    ['redis://h?db=3&family=4', { ...plain, host: 'h', database: 3, family: 4 }],
    ['redis://h/3?db=3', { ...plain, host: 'h', database: 3 }],
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

  test.each([
    ['redis://h?ssl_cert_reqs=CERT_NONE', 'without the query ssl_cert_reqs', 'NODE_EXTRA_CA_CERTS'],
    ['redis://h?tls=true', 'without the query tls', 'rediss://'],
    ['redis://h?password=hunter2', 'without the query password', 'user:password@host'],
    ['redis://h?keyPrefix=a', 'without the query keyPrefix', '`namespace`'],
    ['redis://h?connectTimeout=5', 'without the query connectTimeout', '`timeoutMs`'],
    ['redis://h?pool_size=5', 'without the query pool_size', 'one connection'],
    ['redis://h?protocol=3', 'without the query protocol', 'pass a client'],
    ['redis://h?cluster=true', 'without the query cluster', '`cluster: true`'],
    ['redis://h?family=5', 'whose family is 0, 4 or 6', 'family=0'],
    ['redis://h?family=', 'whose family is 0, 4 or 6', 'family=0'],
    ['redis://h?family=4&family=6', 'with at most one family', 'family=0'],
    ['redis://h/1?db=2', 'with one database', 'database'],
    ['redis://h?db=', 'whose database is a number', 'database'],
    ['redis://h?hunter2@host', 'without a query other than db and family', 'family=0'],
    ['redis://h?constructor=1', 'without a query other than db and family', 'family=0'],
    ['unix:///run/redis.sock?family=4', 'without a query other than db', 'unix://'],
    ['redis://h#hunter2', 'without a fragment', 'redis://'],
  ])('refuses %s and names the cure', (url, rule, cure) => {
    let message = '';
    try {
      readRedisUrl(url);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toContain(`must be a URL ${rule}, and is not`);
    expect(message.slice(message.indexOf('). '))).toContain(cure);
    expect(message).not.toContain('hunter2');
  });
});
