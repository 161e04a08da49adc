import { onTestFinished } from 'vitest';
import { RateLimiter } from '../../../src/index.ts';
import { goldenFiles } from '../../kit/golden/golden-files.ts';
import { withoutVarying } from '../../kit/golden/varying.ts';
import type { Varying } from '../../kit/golden/varying.ts';
import { startCluster, startRedis, startReplicated, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { run, write } from '../../unit/cli/run.ts';
import { outcome, session, shown } from '../../unit/cli/session.ts';

const golden = goldenFiles('cli/redis');
const URL_SHOWN = 'redis://localhost:6379';
const LIMIT = ['--limit', '10/1h burst 5', '--namespace', 'api'];
const OF_DOCTOR: readonly Varying[] = [
  'version',
  'latency',
  'memory',
  'share',
  'clock',
  'port',
  'slowest',
  'silence',
  'slot',
];

async function start(config: Readonly<Record<string, string>> = {}, users: readonly string[] = []) {
  const redis = await startRedis({ config, users });
  onTestFinished(() => redis.close());
  return redis;
}

/** What `doctor` prints. On a busy machine calls may take long, which is then a true finding: it looks again. */
async function examined(url: string, ...argv: readonly string[]): Promise<string> {
  const line = ['doctor', ...argv, '--redis', url];
  let text = await session(line);
  for (let i = 0; i < 5 && /PROBLEM (?:pings|decisions)/.test(text); i++) {
    text = await session(line);
  }
  return withoutVarying(text.replaceAll(url, URL_SHOWN), OF_DOCTOR);
}

const WELL = {
  maxmemory: '100mb',
  'maxmemory-policy': 'noeviction',
  appendonly: 'yes',
  // Calls that take long on a busy machine are no finding of these tests.
  'slowlog-log-slower-than': '1000000000',
};

async function allowTimes(redis: RedisServer, times: number): Promise<void> {
  const limiter = new RateLimiter({
    redis: redis.url,
    namespace: 'api',
    rate: 10,
    period: '1h',
    burst: 5,
    blocks: true,
    timeoutMs: 10_000,
  });
  for (let i = 0; i < times; i++) {
    await limiter.allow('ada');
  }
  await limiter.close();
}

golden('doctor-well', async () => {
  const redis = await start(WELL);
  await allowTimes(redis, 1);
  return examined(redis.url, '--namespace', 'api');
});

golden('doctor-ill', async () => {
  const redis = await start({ 'maxmemory-policy': 'allkeys-lru', 'slowlog-log-slower-than': '0' });
  await redis.command('SET', 'api:token_bucket:x', '1');
  return examined(redis.url, '--namespace', 'api');
});

golden('doctor-no-cluster', async () => {
  const redis = await start(WELL);
  return examined(redis.url, '--cluster', '--timeout', '500');
});

golden('doctor-without-rights', async () => {
  const redis = await start(WELL, [
    'app on >secret ~api:* ~{api:* -@all +eval +evalsha +ping +hello +auth +get +info',
    'blind on >secret ~api:* ~{api:* -@all +ping +hello +auth',
  ]);
  const texts: string[] = [];
  for (const user of ['app', 'blind']) {
    const url = redis.url.replace('://', `://${user}:secret@`);
    texts.push(
      (await examined(url, '--namespace', 'api')).replaceAll(
        URL_SHOWN,
        `$REDIS_OF_${user.toUpperCase()}`,
      ),
    );
  }
  // Versions of Redis name the missing right in several ways.
  return texts.join('\n').replaceAll(/(?:NOPERM|ERR The user) .*/g, '<what the server says>');
});

golden('doctor-replicated', async () => {
  const config = { 'slowlog-log-slower-than': '1000000000' };
  const replicated = await startReplicated({ primary: { config }, replica: { config } });
  onTestFinished(() => replicated.close());
  const primary = await examined(replicated.primary.url);
  return `${primary}\n${await examined(replicated.replica.url)}`;
});

golden('doctor-silent-replica', async () => {
  const replicated = await startReplicated({ primary: { config: WELL } });
  onTestFinished(() => replicated.close());
  await replicated.replica.stop();
  await waitUntil('the primary to miss the replica', async () =>
    /lag=([4-9]|\d\d)/.test(String(await replicated.primary.command('INFO', 'replication'))),
  );
  const text = await examined(replicated.primary.url);
  await replicated.replica.cont();
  return text;
});

golden('doctor-cluster', async () => {
  const cluster = await startCluster({ node: { config: WELL } });
  onTestFinished(() => cluster.close());
  const [node] = cluster.nodes;
  const argv = ['user:12345', '--limit', '10/1m', '--namespace', 'api', '--cluster'];
  const well = await examined(node!.url, ...argv);
  const asked = await examined(node!.url, '--namespace', 'api', '--timeout', '500');
  return `${well}\n${asked.replaceAll(/MOVED \d+ /g, 'MOVED <slot> ')}`;
});

golden('doctor-no-server', async () => {
  const text = await session(['doctor', '--redis', 'redis://127.0.0.1:1']);
  return text.replaceAll('redis://127.0.0.1:1', URL_SHOWN);
});

golden('identity', async () => {
  const redis = await start();
  await allowTimes(redis, 2);
  const env = { REDIS_URL: redis.url };
  const lines = [
    ['peek', 'ada', ...LIMIT],
    ['block', 'ada', '--for', '15m', ...LIMIT],
    ['peek', 'ada', ...LIMIT],
    ['peek', 'ada', ...LIMIT, '--json'],
    ['unblock', 'ada', ...LIMIT],
    ['peek', 'ada', ...LIMIT, '--cost', '4'],
    ['peek', 'ada', ...LIMIT, '--cost', '6'],
    ['credit', 'ada', '--cost', '1', ...LIMIT],
    ['reset', 'ada', ...LIMIT],
    ['reset', 'ada', ...LIMIT, '--json'],
    ['peek', 'ada', ...LIMIT],
    ['peek', 'ada', ...LIMIT, '--limit', '60/1m'],
  ];
  const texts: string[] = [];
  for (const argv of lines) {
    texts.push(await session(argv, { env }));
  }
  return withoutVarying(texts.join('\n'), ['fullIn', 'wait', 'waitMs']);
});

golden('identity-by-parts', async () => {
  const redis = await start();
  write(
    'limits.mjs',
    `import { fixedWindow, tokenBucket } from ${JSON.stringify(new URL('../../../dist/index.js', import.meta.url).href)};
     export default [
       tokenBucket({ by: ['org', 'user'], unit: 'tokens', rate: 50000, period: '1h' }),
       fixedWindow({ name: 'monthly', by: 'org', unit: 'tokens', rate: 1000000, period: 'month', shadow: true }),
     ];`,
  );
  const argv = ['peek', 'org=acme', 'user=42', '--limits', 'limits.mjs', '--namespace', 'api'];
  const env = { REDIS_URL: redis.url };
  const texts = [
    await session([...argv, '--cost', 'tokens=500'], { env }),
    await session(['peek', 'acme', ...argv.slice(3)], { env }),
  ];
  return withoutVarying(texts.join('\n'), ['fullIn', 'wait']);
});

/** Publishes what processes tell, once all of the listeners listen. */
async function tell(
  redis: RedisServer,
  listeners: number,
  texts: readonly object[],
): Promise<void> {
  await waitUntil('the subscriptions', async () =>
    String(await redis.command('PUBSUB', 'NUMSUB', 'api:refusals')).endsWith(String(listeners)),
  );
  for (const text of texts) {
    await redis.command('PUBLISH', 'api:refusals', JSON.stringify({ v: 1, ...text }));
  }
}

const AT = Date.UTC(2026, 9, 10, 12);
const [ADA, BOB, EVE] = ['2128f83ac92ef1e7', '81b637d8fcd2c6da', '85262adf74518bbb'];

golden('tail', async () => {
  const redis = await start();
  const argv = ['tail', '--redis', redis.url, '--namespace', 'api', '--for', '2s'];
  const ran = Promise.all([run(argv), run([...argv, '--json'])]);
  const refusal = (ms: number, caller: string, more: object) => ({
    at: AT + ms,
    caller,
    reason: 'limited',
    limitedBy: ['default'],
    ...more,
  });
  await tell(redis, 2, [
    {
      process: 'c0ffee000001',
      refusals: [
        refusal(7, ADA, { retryAfterMs: 59_300 }),
        refusal(250, BOB, { limitedBy: ['burst', 'hourly'], retryAfterMs: 250 }),
        refusal(900, EVE, { reason: 'blocked', limitedBy: [], retryAfterMs: 900_000 }),
      ],
      leftOut: 0,
    },
    {
      process: 'c0ffee000002',
      refusals: [refusal(1_000, ADA, { reason: 'impossible' })],
      leftOut: 1_234,
    },
  ]);
  const [text, json] = await ran;
  const ofText = shown(argv) + outcome(text);
  const ofJson = shown([...argv, '--json']) + outcome(json);
  return `${ofText}\n${ofJson}`.replaceAll(redis.url, URL_SHOWN);
});

golden('top', async () => {
  const redis = await start();
  const argv = ['top', '--redis', redis.url, '--namespace', 'api', '--for', '2s'];
  const asked = [...argv, '--caller', 'bob', '--caller', 'eve', '--most', '2'];
  const ran = Promise.all([run(asked), run([...argv, '--json'])]);
  const told = (process: string, total: number, callers: readonly unknown[]) => ({
    process,
    refusals: [],
    leftOut: 0,
    recent: { total, callers },
  });
  await tell(redis, 2, [
    told('c0ffee000001', 12_345, [
      [ADA, 12_000, 0],
      ['0123456789abcdef', 45, 3],
    ]),
    told('c0ffee000002', 400, [[ADA, 399, 1]]),
  ]);
  const [text, json] = await ran;
  const ofText = shown(asked) + outcome(text);
  const ofJson = shown([...argv, '--json']) + outcome(json);
  return `${ofText}\n${ofJson}`.replaceAll(redis.url, URL_SHOWN);
});

golden('refusals-of-nobody', async () => {
  const redis = await start();
  const text = await session(['top', '--redis', redis.url, '--namespace', 'api', '--for', '200ms']);
  return text.replaceAll(redis.url, URL_SHOWN);
});
