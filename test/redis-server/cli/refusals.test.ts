import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { Cluster, Redis } from 'ioredis';
import { createClient } from 'redis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { RateLimiter } from '../../../src/index.ts';
import type { RedisClient } from '../../../src/redis/clients/client.ts';
import { digestIdentity } from '../../../src/base/identity.ts';
import { publishRefusals } from '../../../src/refusals/index.ts';
import { startCluster, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { run } from '../../unit/cli/run.ts';

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
const ACL =
  'app on >secret resetkeys ~api:* ~{api:* resetchannels -@all +eval +evalsha +time +mget +get +set +psetex +del +info +ping +hello +auth +select +client|setname';

async function start(users: readonly string[] = []) {
  const redis = await startRedis({ users });
  onTestFinished(() => redis.close());
  return redis;
}

function ioredis(url: string): Redis {
  const client = new Redis(url);
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}

/** A process: its limiter refuses all but the first call of a caller. */
function processOn(redis: RedisClient, hashSecret?: string) {
  const given = { redis, namespace: 'api', ...(hashSecret === undefined ? {} : { hashSecret }) };
  const refusals = publishRefusals(given);
  onTestFinished(() => refusals.close());
  return new RateLimiter({
    ...given,
    rate: 1,
    period: '1h',
    timeoutMs: 10_000,
    onBlock: refusals.onBlock,
  });
}

async function callTimes(limiter: RateLimiter, caller: string, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await limiter.allow(caller);
  }
}

const digest = (caller: string, secret?: string) => digestIdentity(caller, secret).slice(0, 16);

describe('top', () => {
  test('sums what the processes of all clients tell, and names callers that it is asked for', async () => {
    const redis = await start();
    const node = createClient({ url: redis.url });
    onTestFinished(() => node.destroy());
    await node.connect();
    const [first, second] = [processOn(ioredis(redis.url)), processOn(node)];
    await callTimes(first, 'ada', 31);
    await callTimes(second, 'ada', 10);
    await callTimes(second, 'bob', 4);
    const argv = ['top', '--redis', redis.url, '--namespace', 'api', '--for', '6s'];
    const asked = [...argv, '--caller', 'bob', '--caller', 'eve'];
    const [text, json] = await Promise.all([run(asked), run([...argv, '--json'])]);
    expect(text.stdout).toContain(`${digest('bob')}…  3 (7.0 %)                   0  bob\n`);
    expect(text.stdout).toContain(`eve (${digest('eve')}…) is not among those refused most.\n`);
    expect(JSON.parse(json.stdout)).toEqual({
      processes: 2,
      refused: 43,
      callers: [
        { caller: digest('ada'), refused: 40, error: 0 },
        { caller: digest('bob'), refused: 3, error: 0 },
      ],
    });
  });

  test('says what to do where no process tells of its refusals', async () => {
    const redis = await start();
    const argv = ['top', '--redis', redis.url, '--for', '200ms'];
    const { exitCode, stdout, stderr } = await run(argv);
    expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    expect(stderr).toContain('publishRefusals({ redis, namespace }).onBlock');
  });

  test('finds callers under a secret', async () => {
    const redis = await start();
    const secret = 's'.repeat(32);
    await callTimes(processOn(ioredis(redis.url), secret), 'ada', 3);
    const argv = ['top', '--redis', redis.url, '--namespace', 'api', '--for', '6s'];
    const asked = [...argv, '--caller', 'ada', '--hash-secret-env', 'SECRET'];
    const { stdout } = await run(asked, { env: { SECRET: secret } });
    expect(stdout).toMatch(new RegExp(`${digest('ada', secret)}… .* ada\n`));
  });

  test('ends with 3 if the connection is lost', async () => {
    const redis = await start();
    const ran = run(['top', '--redis', redis.url, '--for', '1m']);
    await waitUntil('the subscription', async () =>
      String(await redis.command('PUBSUB', 'CHANNELS')).includes('rate-limit:refusals'),
    );
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    expect(await ran).toMatchObject({ exitCode: 3, stderr: /connection to Redis was lost/ });
  });
});

describe('tail', () => {
  test('prints refusals as they happen, without identities', async () => {
    const redis = await start();
    const limiter = processOn(ioredis(redis.url));
    const argv = ['tail', '--redis', redis.url, '--namespace', 'api', '--for', '3s'];
    const both = Promise.all([run(argv), run([...argv, '--json'])]);
    await waitUntil('both subscriptions', async () =>
      String(await redis.command('PUBSUB', 'NUMSUB', 'api:refusals')).endsWith('2'),
    );
    await callTimes(limiter, 'ada', 31);
    const [text, json] = await both;
    const lines = text.stdout.trim().split('\n');
    expect(lines).toHaveLength(21);
    expect(lines[0]).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d\\.\\d{3} ${digest('ada')}… limited by default, again in (1 h|59 m .*)  process [0-9a-f]{12}$`,
      ),
    );
    expect(lines[20]).toMatch(/^10 further refusals left out {2}process/);
    expect(text).toMatchObject({ exitCode: 0, stderr: '' });
    expect(text.stdout).not.toContain('ada');
    const values = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(values).toHaveLength(21);
    expect(values[0]).toMatchObject({ caller: digest('ada'), reason: 'limited' });
    expect(values[20]).toMatchObject({ leftOut: 10 });
  });

  test('leaves out what other clients publish, and what commands a terminal', async () => {
    const redis = await start();
    const ran = run(['tail', '--redis', redis.url, '--for', '1s']);
    await waitUntil('the subscription', async () =>
      String(await redis.command('PUBSUB', 'CHANNELS')).includes('rate-limit:refusals'),
    );
    const refusal = { at: 0, caller: '0'.repeat(16), reason: '\u001B[2J', limitedBy: ['\r'] };
    const message = { v: 1, process: '\u0007', refusals: [refusal], leftOut: 0 };
    for (const text of ['x', '{}', JSON.stringify(message)]) {
      await redis.command('PUBLISH', 'rate-limit:refusals', text);
    }
    const { stdout } = await ran;
    expect(stdout).toBe(`00:00:00.000 ${'0'.repeat(16)}… �[2J by �  process �\n`);
  });

  test('ends at Ctrl-C with 130', async () => {
    const redis = await start();
    const child = spawn(process.execPath, [main, 'tail', '--redis', redis.url]);
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += String(text)));
    await waitUntil('the subscription', async () =>
      String(await redis.command('PUBSUB', 'CHANNELS')).includes('rate-limit:refusals'),
    );
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    expect(stderr).toBe('distributed-rate-limiter: Interrupted.\n');
  });
});

describe('rights', () => {
  test('of a limiter, and those that the docs name, are enough', async () => {
    const redis = await start([
      `${ACL} +publish &api:refusals`,
      'op on >secret resetkeys resetchannels &api:refusals -@all +subscribe +unsubscribe +hello +auth +ping +info +client|setname',
    ]);
    const app = ioredis(redis.url.replace('://', '://app:secret@'));
    await callTimes(processOn(app), 'ada', 3);
    const url = redis.url.replace('://', '://op:secret@');
    const argv = ['top', '--redis', url, '--namespace', 'api', '--for', '6s', '--json'];
    const { stdout, stderr } = await run(argv);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ refused: 2 });
  });

  test('that are missing for a subscriber are named', async () => {
    const redis = await start([ACL]);
    const url = redis.url.replace('://', '://app:secret@');
    const { exitCode, stderr } = await run(['tail', '--redis', url, '--namespace', 'api']);
    expect(exitCode).toBe(3);
    expect(stderr).toContain('+subscribe and &api:refusals');
  });
});

test('refusals on a cluster are heard at every node', async () => {
  const cluster = await startCluster();
  onTestFinished(() => cluster.close());
  const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  await callTimes(processOn(client), 'ada', 5);
  const reports = await Promise.all(
    cluster.nodes.map(async ({ port }) => {
      const url = `redis://127.0.0.1:${port}`;
      const argv = ['top', '--redis', url, '--namespace', 'api', '--for', '6s', '--json'];
      return JSON.parse((await run(argv)).stdout) as unknown;
    }),
  );
  expect(reports).toHaveLength(3);
  for (const report of reports) {
    expect(report).toMatchObject({ processes: 1, refused: 4 });
  }
});

test('publishing stores nothing', async () => {
  const redis = await start();
  const client = ioredis(redis.url);
  const refusals = publishRefusals({ redis: client, namespace: 'api' });
  await waitUntil('the client', () => client.status === 'ready');
  refusals.onBlock('ada', { allowed: false, reason: 'limited', limits: [] } as never);
  await refusals.close();
  expect(
    Number(
      /cmdstat_publish:calls=(\d+)/.exec(String(await redis.command('INFO', 'commandstats')))?.[1],
    ),
  ).toBe(1);
  expect(await redis.command('DBSIZE')).toBe(0);
});
