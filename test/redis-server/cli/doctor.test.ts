import { describe, expect, onTestFinished, test } from 'vitest';
import { RateLimiter } from '../../../src/index.ts';
import {
  checkClock,
  checkDurability,
  checkEviction,
  checkLatency,
  checkMemory,
  checkVersion,
  readInfo,
} from '../../../src/cli/doctor/findings.ts';
import type { Finding } from '../../../src/cli/doctor/findings.ts';
import { checkCluster, checkReplicas, checkSlots } from '../../../src/cli/doctor/topology.ts';
import {
  startCluster,
  startRedis,
  startReplicated,
  startSteppedRedis,
  steppedClockMissing,
  waitUntil,
} from '../../kit/servers/index.mjs';
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

  test('finds keys that were evicted before the policy was mended', async () => {
    const redis = await start({ maxmemory: '3mb', 'maxmemory-policy': 'allkeys-lru' });
    for (let i = 0; i < 64; i++) {
      await redis.command('SET', `other:${i}`, 'x'.repeat(100_000));
    }
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect((await examine(redis.url)).of('eviction')).toMatchObject({
      level: 'note',
      says: /^noeviction now, but \d+ keys were evicted since the start/,
    });
  });

  test('finds calls that wait longer than the default deadline', async () => {
    const redis = await start();
    const pauses = new AbortController();
    // The server answers nobody for 300 ms, again and again.
    const pausing = (async () => {
      while (!pauses.signal.aborted) {
        await redis.command('CLIENT', 'PAUSE', '300', 'ALL');
        // Between two pauses the command gets about as many answers.
        for (let i = 0; i < 20; i++) {
          await redis.command('PING');
        }
      }
    })();
    const { exitCode, of } = await examine(redis.url);
    pauses.abort();
    await pausing;
    expect(exitCode).toBe(1);
    for (const check of ['pings', 'decisions']) {
      expect(of(check)).toMatchObject({ level: 'problem', says: /a call waits 250 ms/ });
    }
  });

  test.skipIf(steppedClockMissing() !== undefined)(
    'finds a clock that is off, and one that steps meanwhile',
    async () => {
      const { redis, clock, close } = await startSteppedRedis();
      onTestFinished(close);
      clock.step(3_600_000);
      expect((await examine(redis.url)).of('clock')).toMatchObject({
        level: 'note',
        says: /^1 h ahead: limits follow the server's clock/,
      });
      await redis.command('CONFIG', 'RESETSTAT');
      const stepping = examine(redis.url);
      await waitUntil('the first look at the clock', async () =>
        String(await redis.command('INFO', 'commandstats')).includes('cmdstat_time:'),
      );
      clock.restore();
      const { exitCode, of } = await stepping;
      expect(exitCode).toBe(1);
      expect(of('clock')).toMatchObject({
        level: 'problem',
        says: /moved apart by 1 h meanwhile: one of them steps/,
      });
    },
  );

  test('names the rights that it lacks itself', async () => {
    const redis = await start({}, ['blind on >secret ~rate-limit:* -@all +ping +hello +auth']);
    const { of } = await examine(redis.url.replace('://', '://blind:secret@'));
    expect(of('INFO')).toMatchObject({ level: 'unknown', cure: 'Add +info to this user.' });
    expect(of('clock')).toMatchObject({ level: 'unknown', cure: 'Add +time to this user.' });
    expect(of('keys without TTL')).toMatchObject({ cure: 'Add +scan +pttl to this user.' });
    expect(of('slow log')).toMatchObject({ cure: 'Add +slowlog|get to this user.' });
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

  test('finds a replica that is paused', async () => {
    const replicated = await startReplicated({ primary: { config: { appendonly: 'yes' } } });
    onTestFinished(() => replicated.close());
    expect((await examine(replicated.primary.url)).of('replica lag')).toMatchObject({
      level: 'ok',
      says: 'none of 1 is behind',
    });
    await replicated.replica.stop();
    await waitUntil('the primary to miss the replica', async () =>
      /lag=([4-9]|\d\d)/.test(String(await replicated.primary.command('INFO', 'replication'))),
    );
    const { exitCode, of } = await examine(replicated.primary.url);
    await replicated.replica.cont();
    expect(exitCode).toBe(1);
    expect(of('replica lag')).toMatchObject({
      level: 'problem',
      says: /has been silent for \d+ s: a failover/,
      cure: /min-replicas-to-write/,
    });
  });

  test('finds keys of the namespace without a TTL, and no others', async () => {
    const redis = await start();
    const limiter = new RateLimiter({ redis: redis.url, rate: 1, period: '1h', timeoutMs: 10_000 });
    await limiter.allow('ada');
    await limiter.close();
    await redis.command('SET', 'other:key', '1');
    expect((await examine(redis.url)).of('keys without TTL')).toMatchObject({
      level: 'ok',
      says: 'none among 1 key of this namespace; 2 keys looked at',
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

  test.each([
    ['redis_version:7.0.15', 'Update to Redis 8.2.2 or later'],
    ['redis_version:8.2.1', 'Update to 8.2.2 or later'],
    ['redis_version:7.2.4 valkey_version:8.1.3', 'Update to 8.1.4 or later'],
  ])('of %s names a version without the holes', (text, cure) => {
    expect(checkVersion(info(text)).cure).toContain(cure);
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

  test('of a cluster is of its state and its slots', () => {
    const enabled = info('cluster_enabled:1');
    const cluster = (text: string) => info(`cluster_slots_assigned:16384 ${text}`);
    expect(checkCluster(enabled, cluster('cluster_state:ok'), true).level).toBe('ok');
    expect(checkCluster(enabled, cluster('cluster_state:fail'), true).level).toBe('problem');
    expect(
      checkCluster(enabled, info('cluster_state:ok cluster_slots_assigned:16383'), true),
    ).toMatchObject({ level: 'problem', says: /^1 of 16,384 slots has no node/, cure: /fix/ });
    for (const state of ['fail', 'pfail']) {
      const failing = cluster(`cluster_state:ok cluster_slots_${state}:7`);
      expect(checkCluster(enabled, failing, true)).toMatchObject({
        level: 'problem',
        says: 'the nodes of 7 slots do not answer',
        cure: /FAILOVER/,
      });
    }
    expect(checkCluster(enabled, undefined, true).level).toBe('unknown');
    expect(checkCluster(enabled, cluster('cluster_state:ok'), false)).toMatchObject({
      level: 'problem',
      cure: /--cluster/,
    });
    expect(checkCluster(info(''), undefined, false).level).toBe('ok');
  });

  test('of replicas is of their silence, their state and what they lack', () => {
    const primary = 'role:master master_repl_offset:5000000';
    const replica = (text: string) =>
      checkReplicas(info(`${primary} slave0:ip=127.0.0.1,port=6380,${text}`));
    expect(replica('state=online,offset=4999000,lag=1')?.level).toBe('ok');
    expect(replica('state=online,offset=4999000,lag=4')).toMatchObject({
      level: 'problem',
      says: /^127.0.0.1:6380 has been silent for 4 s/,
    });
    expect(replica('state=wait_bgsave,offset=0,lag=0')?.says).toMatch(/not in sync/);
    expect(replica('state=online,offset=1000000,lag=0')?.says).toMatch(/4 MiB behind/);
    expect(checkReplicas(info('role:master'))).toBeUndefined();
    expect(checkReplicas(info('role:slave slave0:state=online'))).toBeUndefined();
  });

  test('of slots tells keys apart that a cluster cannot decide together', () => {
    const facts = { ranges: [[0, 16_383, ['h', 1, 'id']]] as const, nodes: 'id h:1 master - 0' };
    expect(checkSlots({ ...facts, slots: [1, 1] }).level).toBe('ok');
    expect(checkSlots({ ...facts, slots: [1, 2] })).toMatchObject({
      level: 'problem',
      cure: /tagBy/,
    });
  });
});

describe('doctor of a cluster', () => {
  test('finds the slot of an identity, a slot without a node, and a node that does not answer', async () => {
    const cluster = await startCluster({
      node: { config: { 'cluster-require-full-coverage': 'no' } },
    });
    onTestFinished(() => cluster.close());
    const limiter = new RateLimiter({
      redis: cluster.nodes[0]!.url,
      cluster: true,
      namespace: 'api',
      rate: 10,
      period: '1m',
      timeoutMs: 10_000,
    });
    onTestFinished(() => limiter.close());
    await limiter.allow('user:12345');
    const stored = await Promise.all(cluster.nodes.map((node) => node.command('KEYS', 'api:*')));
    const owner = cluster.nodes.find((_, i) => (stored[i] as string[]).length > 0)!;
    const [key] = (stored as string[][]).flat();
    const slot = Number(await owner.command('CLUSTER', 'KEYSLOT', key!));
    const witness = cluster.nodes.find((node) => node !== owner)!;
    const argv = ['user:12345', '--limit', '10/1m', '--namespace', 'api', '--cluster'];
    const look = () => examine(witness.url, ...argv);

    const well = await look();
    expect(well.of('cluster')).toMatchObject({ level: 'ok', says: /all slots served by 3/ });
    expect(well.of('slot of the identity')).toMatchObject({
      level: 'ok',
      says: `slot ${slot}, at 127.0.0.1:${owner.port}, with 0 replicas`,
    });

    const tagged = new RateLimiter({
      redis: cluster.nodes[0]!.url,
      cluster: { tags: 16 },
      namespace: 'api',
      rate: 10,
      period: '1m',
      timeoutMs: 10_000,
    });
    onTestFinished(() => tagged.close());
    await tagged.allow('user:12345');
    const ofTags = await Promise.all(
      cluster.nodes.map((node) => node.command('KEYS', '{api:16:*')),
    );
    const taggedOwner = cluster.nodes.find((_, i) => (ofTags[i] as string[]).length > 0)!;
    const [taggedKey] = (ofTags as string[][]).flat();
    const tagSlot = await owner.command('CLUSTER', 'KEYSLOT', taggedKey!);
    expect(tagSlot).not.toBe(slot);
    expect(
      (await examine(witness.url, ...argv, '--tags', '16')).of('slot of the identity'),
    ).toEqual(
      expect.objectContaining({
        says: `slot ${tagSlot}, at 127.0.0.1:${taggedOwner.port}, with 0 replicas`,
      }),
    );

    await Promise.all(cluster.nodes.map((node) => node.command('CLUSTER', 'DELSLOTS', slot)));
    const missing = await look();
    expect(missing.exitCode).toBe(1);
    expect(missing.of('cluster')).toMatchObject({
      level: 'problem',
      says: /^1 of 16,384 slots has no node/,
    });
    expect(missing.of('slot of the identity')).toMatchObject({
      level: 'problem',
      says: new RegExp(`^slot ${slot} has no node`),
      cure: new RegExp(`ADDSLOTS ${slot}`),
    });

    await owner.command('CLUSTER', 'ADDSLOTS', slot);
    await waitUntil('the slot to have its node again', async () =>
      String(await witness.command('CLUSTER', 'INFO')).includes('cluster_slots_assigned:16384'),
    );
    await owner.stop();
    await waitUntil('the witness to miss the node', async () =>
      /^\S+ \S+ \S*\bfail\b/m.test(String(await witness.command('CLUSTER', 'NODES'))),
    );
    const away = await look();
    await owner.cont();
    expect(away.exitCode).toBe(1);
    expect(away.of('cluster')).toMatchObject({ level: 'problem', says: /do not answer/ });
    expect(away.of('slot of the identity')).toMatchObject({
      level: 'problem',
      says: /does not answer/,
      cure: /Start that node/,
    });
  });

  test('finds a cluster that is down, and one that is taken for a single server', async () => {
    const cluster = await startCluster();
    onTestFinished(() => cluster.close());
    const [node] = cluster.nodes;
    const alone = await examine(node!.url, '--timeout', '500');
    expect(alone.exitCode).toBe(1);
    expect(alone.of('cluster')).toMatchObject({ level: 'problem', cure: /--cluster/ });
    expect(alone.of('script')).toMatchObject({ says: /MOVED/, cure: /`cluster: true`/ });
    await Promise.all(cluster.nodes.map((each) => each.command('CLUSTER', 'DELSLOTS', '7')));
    await waitUntil('the cluster to be down', async () =>
      String(await node!.command('CLUSTER', 'INFO')).includes('cluster_state:fail'),
    );
    const down = await examine(node!.url, '--cluster', '--timeout', '500');
    expect(down.exitCode).toBe(1);
    expect(down.of('cluster')).toMatchObject({
      level: 'problem',
      says: /^cluster_state fail: this node refuses all commands; 1 of 16,384 slots has no node/,
    });
    expect(down.of('script')).toMatchObject({ level: 'problem' });
  });

  test('is a wrong command line for an identity without --cluster, or without limits', async () => {
    const url = 'redis://127.0.0.1:1';
    const alone = await run(['doctor', 'ada', '--redis', url, '--limit', '1/1s']);
    expect(alone).toMatchObject({ exitCode: 2, stderr: /add --cluster/ });
    const unlimited = await run(['doctor', 'ada', '--redis', url, '--cluster']);
    expect(unlimited).toMatchObject({ exitCode: 2, stderr: /name the limits/ });
  });
});
