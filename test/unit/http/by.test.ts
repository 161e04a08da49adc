import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { createGuard } from 'distributed-rate-limiter/http';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

interface Asked {
  readonly org?: string;
  readonly ip?: string | null;
}

const store = new MemoryStore();
const limits = [
  tokenBucket({ name: 'org', by: 'org', rate: 5, period: '1h' }),
  tokenBucket({ name: 'ip', by: 'ip', rate: 2, period: '1h' }),
  fixedWindow({ name: 'all', by: [], rate: 9, period: '1h' }),
];
let made = 0;
const warnings = collectWarnings();

function limiterOf(): RateLimiter<'org' | 'ip'> {
  return new RateLimiter({ store, namespace: `guard-by-${++made}`, limits });
}

function identify({ org, ip }: Asked): { org: string; ip: string | null } {
  return { org, ip } as { org: string; ip: string | null };
}

test('a guard limits by the parts that `identify` returns', async () => {
  const guard = createGuard<Asked, 'org' | 'ip'>(limiterOf(), { identify });
  const statuses: number[] = [];
  for (const ip of ['a', 'a', 'a', 'b', null, null, null]) {
    const verdict = await guard.check({ org: 'x', ip });
    statuses.push(verdict.pass ? 200 : verdict.status);
  }
  expect(statuses).toEqual([200, 200, 429, 200, 200, 200, 429]);
});

test('a guard refuses a request whose parts are no identity with status 400', async () => {
  const guard = createGuard<Asked, 'org' | 'ip'>(limiterOf(), { identify });
  for (const asked of [{ org: 'x' }, { ip: 'a' }, { org: '', ip: 'a' }]) {
    expect(await guard.check(asked)).toMatchObject({ pass: false, status: 400 });
  }
  const noIp = createGuard<Asked, 'ip'>(
    new RateLimiter({ store, limits: [tokenBucket({ by: 'ip', rate: 1, period: '1h' })] }),
    { identify: () => ({ ip: null }) },
  );
  expect(await noIp.check({})).toMatchObject({ pass: false, status: 400 });
  const codes = (await warnings()).map(({ code }) => code);
  expect(codes.filter((code) => code === 'DRL_INVALID_IDENTITY')).toHaveLength(2);
});

test('a guard needs `identify` where limits say `by`', () => {
  // @ts-expect-error the parts have to be named
  expect(() => createGuard(limiterOf())).toThrow('`identify` must be given where limits say `by`');
});

test('fields have a partition key per set of parts, and none for a counter of all', async () => {
  const secret = 's'.repeat(32);
  const limiter = limiterOf();
  const guard = createGuard<Asked, 'org' | 'ip'>(limiter, { identify, partitionSecret: secret });
  const partitions = async (asked: Asked): Promise<(string | undefined)[]> => {
    const { headers } = await guard.check(asked);
    const [, field] = headers.find(([name]) => name === 'RateLimit')!;
    return field.split(', ').map((item) => /;pk=:([^:]+):/.exec(item)?.[1]);
  };
  const [org, ip, all] = await partitions({ org: 'x', ip: 'a' });
  expect(all).toBeUndefined();
  expect(new Set([org, ip]).size).toBe(2);
  const [sameOrg, otherIp] = await partitions({ org: 'x', ip: 'b' });
  expect(sameOrg).toBe(org);
  expect(otherIp).not.toBe(ip);
  expect(org).not.toBe(
    createHmac('sha256', secret).update('x').digest().subarray(0, 12).toString('base64'),
  );
});

test('two guards warn of a request counted twice only under the counter that they share', async () => {
  const limiter = limiterOf();
  const first = createGuard<Asked, 'org' | 'ip'>(limiter, {
    identify: () => ({ org: 'x', ip: 'a' }),
  });
  const other = createGuard<Asked, 'org' | 'ip'>(limiter, {
    identify: () => ({ org: 'y', ip: 'b' }),
  });
  const request = { org: 'x', ip: 'a' };
  await first.check(request);
  await other.check(request);
  const texts = (await warnings()).map(({ message }) => message);
  const twice = texts.filter((text) => text.includes('counted twice'));
  expect(twice.map((text) => /the limit '(\w+)'/.exec(text)?.[1])).toEqual(['all']);
});
