import { describe, expect, onTestFinished, test } from 'vitest';
import { RateLimiter } from '../../../src/index.ts';
import {
  checkClock,
  checkCluster,
  checkDurability,
  checkEviction,
  checkLatency,
  checkMemory,
  checkVersion,
  readInfo,
} from '../../../src/cli/doctor/findings.ts';
import type { Finding } from '../../../src/cli/doctor/findings.ts';
import { startRedis, startReplicated } from '../../kit/servers/index.mjs';
import { run } from '../../unit/cli/run.ts';

async function start(config: Readonly<Record<string, string>> = {}, users: readonly string[] = []) {
  const redis = await startRedis({ config, users });
  onTestFinished(() => redis.close());
  return redis;
}

async function examine(url: string, ...argv: string[]) {
  const { exitCode, stdout, stderr } = await run(['doctor', '--redis', url, '--json', ...argv]);
  expect(stderr).toBe('');
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  return {
    exitCode,
    findings,
    of: (check: string) => findings.find((each) => each.check === check),
  };
}

describe('doctor', () => {
  test('finds no problem in a server that is well', async () => {
    const redis = await start({
      maxmemory: '100mb',
      'maxmemory-policy': 'noeviction',
      appendonly: 'yes',
    });
    const { exitCode, findings } = await examine(redis.url);
    // On a busy machine calls may take long, which is then a true finding.
    const isSlow = ({ check, level }: Finding): boolean =>
      (check === 'pings' || check === 'decisions') && level === 'problem';
    const sound = findings.filter((each) => !isSlow(each)).map(({ level }) => level);
    expect(sound).not.toContain('problem');
    expect(sound).not.toContain('unknown');
    expect(exitCode).toBe(findings.some(isSlow) ? 1 : 0);
    expect(findings.map(({ check }) => check)).toEqual([
      'version',
      'eviction',
      'memory',
      'restart and failover',
      'cluster',
      'pings',
      'script',
      'decisions',
      'clock',
      'keys without TTL',
      'slow log',
    ]);
    const { stdout } = await run(['doctor', '--redis', redis.url]);
    expect(stdout).toContain('ok      eviction: noeviction\n');
  });

  test('finds an eviction policy that grants bursts, and says the cure', async () => {
    const redis = await start({ 'maxmemory-policy': 'allkeys-lru' });
    const { exitCode, of } = await examine(redis.url);
    expect(exitCode).toBe(1);
    expect(of('eviction')).toMatchObject({
      level: 'problem',
      says: /allkeys-lru/,
      cure: /noeviction/,
    });
    expect(of('memory')).toMatchObject({ level: 'note', says: /no maxmemory/ });
    expect(of('restart and failover')).toMatchObject({ level: 'note', says: /forgets all limits/ });
    const { stdout } = await run(['doctor', '--redis', redis.url]);
    expect(stdout).toContain('PROBLEM eviction: maxmemory-policy is allkeys-lru');
  });

  test('finds memory that is nearly full', async () => {
    const redis = await start();
    const used = Number(
      /used_memory:(\d+)/.exec(String(await redis.command('INFO', 'memory')))![1],
    );
    await redis.command('CONFIG', 'SET', 'maxmemory', String(Math.ceil(used * 1.2)));
    const { of } = await examine(redis.url);
    expect(of('memory')).toMatchObject({ level: 'problem', says: /used \([789]\d %\)/ });
  });

  test('finds rights that are missing, by running the script', async () => {
    const redis = await start({}, [
      'app on >secret ~rate-limit:* ~{rate-limit:* -@all +eval +evalsha +info +ping +time +get',
    ]);
    const { exitCode, of } = await examine(redis.url.replace('://', '://app:secret@'));
    expect(exitCode).toBe(1);
    expect(of('script')).toMatchObject({ level: 'problem', cure: /ACL SETUSER/ });
    expect(of('slow log')).toMatchObject({ level: 'unknown', says: /slowlog/i });
  });

  test('finds a replica, and replicas of a primary that would come back empty', async () => {
    const replicated = await startReplicated();
    onTestFinished(() => replicated.close());
    const primary = await examine(replicated.primary.url);
    expect(primary.of('restart and failover')).toMatchObject({
      level: 'problem',
      says: /comes back empty/,
    });
    const replica = await examine(replicated.replica.url);
    expect(replica.of('restart and failover')).toMatchObject({
      level: 'problem',
      says: /a replica/,
    });
    expect(replica.of('script')).toMatchObject({ level: 'problem', says: /READONLY/ });
  });

  test('finds keys of the namespace without a TTL, and no others', async () => {
    const redis = await start();
    const limiter = new RateLimiter({ redis: redis.url, rate: 1, period: '1h', timeoutMs: 10_000 });
    await limiter.allow('ada');
    await limiter.close();
    await redis.command('SET', 'other:key', '1');
    expect((await examine(redis.url)).of('keys without TTL')).toMatchObject({
      level: 'ok',
      says: 'none, 1 keys of this namespace among 2',
    });
    await redis.command('SET', 'rate-limit:token_bucket:x', '1');
    expect((await examine(redis.url)).of('keys without TTL')).toMatchObject({
      level: 'problem',
      says: /^1 of 2 keys/,
    });
    expect((await examine(redis.url, '--namespace', 'api')).of('keys without TTL')).toMatchObject({
      level: 'ok',
    });
  });

  test('finds our script in the slow log', async () => {
    const redis = await start({ 'slowlog-log-slower-than': '0' });
    expect((await examine(redis.url)).of('slow log')).toMatchObject({ level: 'note' });
  });

  test('finds that --cluster names no cluster', async () => {
    const redis = await start();
    const { of, exitCode } = await examine(redis.url, '--cluster', '--timeout', '500');
    expect(exitCode).toBe(1);
    expect(of('cluster')).toMatchObject({ level: 'problem', says: 'this is no cluster' });
  });

  test('says that there is no server', async () => {
    const { exitCode, stderr } = await run(['doctor', '--redis', 'redis://127.0.0.1:1']);
    expect(exitCode).toBe(3);
    expect(stderr).toMatch(/cannot connect to Redis: .*ECONNREFUSED/);
  });
});

describe('a finding', () => {
  const info = (text: string) => readInfo(text.replaceAll(' ', '\r\n'));

  test.each([
    ['redis_version:7.0.15', 'note'],
    ['redis_version:7.2.10', 'note'],
    ['redis_version:7.2.11', 'ok'],
    ['redis_version:8.2.1', 'note'],
    ['redis_version:8.2.2', 'ok'],
    ['redis_version:8.4.0', 'ok'],
    ['redis_version:7.2.4 valkey_version:8.1.3', 'note'],
    ['redis_version:7.2.4 valkey_version:8.1.4', 'ok'],
    ['redis_version:7.2.4 valkey_version:9.0.0', 'ok'],
  ])('of %s is %s', (text, level) => {
    expect(checkVersion(info(text)).level).toBe(level);
  });

  test('tells evictions of an earlier policy', () => {
    const text = 'maxmemory_policy:noeviction evicted_keys:3';
    expect(checkEviction(info(text))).toMatchObject({ level: 'note', says: /3 keys were evicted/ });
  });

  test('of memory counts from 70 %', () => {
    expect(checkMemory(info('used_memory:70 maxmemory:100')).level).toBe('ok');
    expect(checkMemory(info('used_memory:71 maxmemory:100')).level).toBe('problem');
  });

  test('of persistence that may not be read is unknown', () => {
    expect(checkDurability(info('role:master connected_slaves:0'), undefined).level).toBe(
      'unknown',
    );
    expect(checkDurability(info('role:master connected_slaves:0'), '3600 1').level).toBe('ok');
    expect(checkDurability(info('role:master connected_slaves:1'), '3600 1').level).toBe('ok');
    expect(checkDurability(info('role:master connected_slaves:1'), '').level).toBe('problem');
  });

  test('of latency is of the p99', () => {
    const calls = (slow: number) => Array.from({ length: 200 }, (_, i) => (i < slow ? 300 : 1));
    expect(checkLatency('pings', calls(2), 250).level).toBe('ok');
    expect(checkLatency('pings', calls(3), 250).level).toBe('problem');
  });

  test('of a clock tells steps from offsets', () => {
    expect(checkClock(100, 110).level).toBe('ok');
    expect(checkClock(5_000, 5_010)).toMatchObject({ level: 'note', says: /^5 s ahead/ });
    expect(checkClock(-5_000, -5_010)).toMatchObject({ level: 'note', says: /^5 s behind/ });
    expect(checkClock(0, -2_000)).toMatchObject({ level: 'problem', says: /steps/ });
  });

  test('of a cluster is of its state', () => {
    const cluster = info('cluster_enabled:1');
    expect(checkCluster(cluster, 'ok', true).level).toBe('ok');
    expect(checkCluster(cluster, 'fail', true).level).toBe('problem');
    expect(checkCluster(cluster, undefined, true).level).toBe('unknown');
    expect(checkCluster(cluster, 'ok', false)).toMatchObject({
      level: 'problem',
      cure: /--cluster/,
    });
    expect(checkCluster(info(''), undefined, false).level).toBe('ok');
  });
});
