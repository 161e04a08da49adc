import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from '../../../src/index.ts';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { run, write } from '../../unit/cli/run.ts';
import type { Ran } from '../../unit/cli/run.ts';

let redis: RedisServer;
let limiter: RateLimiter;
const SECRET = 'a secret of at least thirty-two bytes';
const LIMIT = ['--limit', '10/1h burst 5', '--namespace', 'api'];

beforeAll(async () => {
  redis = await startRedis();
  limiter = new RateLimiter({
    redis: redis.url,
    namespace: 'api',
    rate: 10,
    period: '1h',
    burst: 5,
    blocks: true,
    timeoutMs: 10_000,
  });
});

beforeEach(() => redis.command('FLUSHALL'));

afterAll(async () => {
  await limiter.close();
  await redis.close();
});

function ask(...argv: string[]): Promise<Ran> {
  return run(argv, { env: { REDIS_URL: redis.url, SECRET } });
}

describe('a command about one identity', () => {
  test('peeks at what is left, and charges nothing', async () => {
    await limiter.allow('ada', { cost: 2 });
    for (let i = 0; i < 2; i++) {
      const { exitCode, stdout, stderr } = await ask('peek', 'ada', ...LIMIT);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      expect(stdout).toMatch(/^would pass\nlimit {4}left  of  full in\ndefault {5}3 {3}5 +1?\d m/);
    }
    const { stdout } = await ask('peek', 'ada', ...LIMIT, '--cost', '3', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ allowed: true, remaining: 3 });
  });

  test('peek ends with 1 where the call would be refused', async () => {
    await limiter.allow('ada', { cost: 5 });
    const refused = await ask('peek', 'ada', ...LIMIT);
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toMatch(/^would be refused for [56] m.*: limited\n/);
    expect((await ask('peek', 'ada', ...LIMIT, '--cost', '6')).stdout).toContain('impossible');
  });

  test('credits units', async () => {
    await limiter.allow('ada', { cost: 5 });
    expect(await ask('credit', 'ada', '--cost', '3', ...LIMIT)).toMatchObject({ exitCode: 0 });
    expect((await limiter.peek('ada')).remaining).toBe(3);
    expect((await ask('credit', 'ada', ...LIMIT)).exitCode).toBe(2);
  });

  test('resets, and leaves a block', async () => {
    await limiter.allow('ada', { cost: 5 });
    await limiter.block('ada', '1h');
    expect(await ask('reset', 'ada', ...LIMIT)).toEqual({
      exitCode: 0,
      stdout: 'reset\n',
      stderr: '',
    });
    expect((await limiter.peek('ada')).reason).toBe('blocked');
    await limiter.unblock('ada');
    expect((await limiter.peek('ada')).remaining).toBe(5);
  });

  test('blocks and unblocks', async () => {
    expect(await ask('block', 'ada', '--for', '15m', ...LIMIT)).toMatchObject({
      exitCode: 0,
      stdout: 'blocked for 15m, in limiters with `blocks: true`\n',
    });
    expect((await limiter.allow('ada')).reason).toBe('blocked');
    expect((await ask('peek', 'ada', ...LIMIT)).stdout).toMatch(/refused for 1[45] m.*: blocked/);
    expect((await ask('unblock', 'ada', ...LIMIT, '--json')).stdout).toContain('unblocked');
    expect((await limiter.allow('ada')).allowed).toBe(true);
    expect((await ask('block', 'ada', ...LIMIT)).exitCode).toBe(2);
    expect((await ask('block', 'ada', '--for', 'ever', ...LIMIT)).stderr).toContain('`duration`');
  });

  test('takes the limits, parts and units of a module, and the secret of the environment', async () => {
    write(
      'limits.mjs',
      `import { tokenBucket } from ${JSON.stringify(new URL('../../../dist/index.js', import.meta.url).href)};
       export default [tokenBucket({ by: ['org', 'user'], unit: 'tokens', rate: 100, period: '1h' })];`,
    );
    const secret = new RateLimiter({
      redis: redis.url,
      limits: [tokenBucket({ by: ['org', 'user'], unit: 'tokens', rate: 100, period: '1h' })],
      hashSecret: SECRET,
      timeoutMs: 10_000,
    });
    await secret.allow({ org: 'acme', user: '42' }, { cost: { tokens: 70 } });
    await secret.close();
    const argv = ['--limits', 'limits.mjs', '--hash-secret-env', 'SECRET', '--json'];
    const { stdout } = await ask('peek', 'org=acme', 'user=42', '--cost', 'tokens=31', ...argv);
    expect(JSON.parse(stdout)).toMatchObject({ allowed: false, remaining: 30 });
    expect((await ask('peek', 'acme', ...argv)).stderr).toContain('org=acme');
    expect((await ask('peek', 'org=acme', 'user=42', '--cost', '1', ...argv)).exitCode).toBe(2);
  });

  test('finds keys that share tags, which --tags or a module says', async () => {
    const cluster = { tags: 64 } as const;
    const numbers = { rate: 10, period: '1h', burst: 5 } as const;
    const place = { redis: redis.url, namespace: 'api', timeoutMs: 10_000 } as const;
    const tagged = new RateLimiter({
      ...place,
      ...numbers,
      cluster: { ...cluster, enabled: false },
    });
    await tagged.allow('ada', { cost: 2 });
    await tagged.close();
    const left = async (...argv: string[]): Promise<unknown> =>
      JSON.parse((await ask('peek', 'ada', '--json', ...argv)).stdout).remaining;
    expect(await left(...LIMIT)).toBe(5);
    expect(await left(...LIMIT, '--tags', '16')).toBe(5);
    expect(await left(...LIMIT, '--tags', '64')).toBe(3);
    write(
      'tagged.mjs',
      `export default ${JSON.stringify({ ...numbers, namespace: 'api', cluster })};`,
    );
    expect(await left('--limits', 'tagged.mjs')).toBe(3);
    expect(await left('--limits', 'tagged.mjs', '--tags', '16')).toBe(5);
    expect(await ask('reset', 'ada', '--limits', 'tagged.mjs')).toMatchObject({ exitCode: 0 });
    expect(await left(...LIMIT, '--tags', '64')).toBe(5);
    const wrong = await ask('peek', 'ada', ...LIMIT, '--tags', '32');
    expect(wrong).toMatchObject({ exitCode: 2 });
    expect(wrong.stderr).toContain("--tags must be 16, 64 or 256, got '32'.");
  });

  test('several words are an identity of several parts', async () => {
    await limiter.allow(['acme', 42], { cost: 4 });
    const { stdout } = await ask('peek', 'acme', '42', ...LIMIT, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ remaining: 1 });
  });

  test('says why it could not be done', async () => {
    const nobody = await run(['peek', 'ada', ...LIMIT, '--redis', 'redis://127.0.0.1:1'], {});
    expect(nobody).toMatchObject({ exitCode: 3, stdout: '' });
    expect(nobody.stderr).toMatch(/^distributed-rate-limiter: .*ECONNREFUSED/);
    for (const [argv, says] of [
      [['peek', ...LIMIT], 'name the identity'],
      [['peek', 'ada'], 'name the limits'],
      [['peek', 'ada', ...LIMIT, '--limit', '1/1m'], 'name one policy'],
      [['peek', 'ada', ...LIMIT, '--redis', 'http://x'], '`redis`'],
    ] as const) {
      const { exitCode, stderr } = await ask(...argv);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(says);
    }
    expect((await run(['peek', 'ada', ...LIMIT])).stderr).toContain('set REDIS_URL');
  });
});
