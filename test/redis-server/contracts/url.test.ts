import { fileURLToPath } from 'node:url';
import { RateLimiter } from 'distributed-rate-limiter';
import { storeContract } from 'distributed-rate-limiter/testing';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { folderOfClient } from '../../installs/clients/index.mjs';
import { startCluster, startRedis, tlsMissing } from '../../kit/servers/index.mjs';
import { install } from '../../kit/fakes/installed.ts';
import type { Installed } from '../../kit/fakes/installed.ts';
import { declareStore } from './subjects.ts';

const worker = fileURLToPath(new URL('contract.worker.mjs', import.meta.url));
const names = storeContract({
  makeLimiter: () => {
    throw new Error('only the names are wanted');
  },
  advance: () => {},
}).map(({ name }) => name);

const PASSWORD = 'p@ss/w:rd %41';

/** Commands that a limiter needs, and commands that its client sends on connecting. */
const RIGHTS = '~contract-* ~{contract-* +eval +evalsha +mget +get +set +psetex +del +time';
const GREETINGS = '+info +ping +hello +client +select +auth';

interface Task {
  readonly url: string;
  readonly cluster?: true;
}

/** Runs the contract in its own process; each case becomes a test here. */
function declareInstalled(
  title: string,
  installed: () => Installed,
  task: () => Task,
  env: () => Readonly<Record<string, string>> = () => ({}),
): void {
  describe(`${title}: the store's contract`, () => {
    let outcomes: readonly { name: string; error?: string }[] = [];
    beforeAll(async () => {
      outcomes = JSON.parse(await installed().run(worker, [JSON.stringify(task())], env()));
    });
    test.each(names)('the store contract holds: %s', (name) => {
      const outcome = outcomes.find((each) => each.name === name);
      expect(outcome).toEqual({ name });
    });
  });
}

describe('a URL', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let guarded: Awaited<ReturnType<typeof startRedis>>;
  let nodeRedisOnly: Installed;
  let nodeRedis4Only: Installed;
  const login = encodeURIComponent(PASSWORD);

  beforeAll(async () => {
    redis = await startRedis();
    cluster = await startCluster();
    guarded = await startRedis({
      password: PASSWORD,
      users: [`app on ${JSON.stringify(`>${PASSWORD}`)} ${RIGHTS} ${GREETINGS}`],
    });
    nodeRedisOnly = install(['redis']);
    nodeRedis4Only = install(['redis'], { redis: folderOfClient('redis-4') });
  });
  afterAll(async () => {
    nodeRedisOnly.remove();
    nodeRedis4Only.remove();
    await Promise.all([redis.close(), cluster.close(), guarded.close()]);
  });

  declareStore('with a database number', () => ({ redis: `${redis.url}/7` }));
  declareStore('of a unix socket', () => ({ redis: `unix://${redis.socketPath}` }));
  declareStore('of a unix socket with a database number', () => ({
    redis: `unix://${redis.socketPath}?db=3`,
  }));
  declareStore('with the password of the default user', () => ({
    redis: `redis://:${login}@127.0.0.1:${guarded.port}`,
  }));
  declareStore('with an ACL user who may do no more than is needed', () => ({
    redis: `redis://app:${login}@127.0.0.1:${guarded.port}`,
  }));

  test('keys are stored in the database of the URL', async () => {
    await redis.command('FLUSHALL');
    for (const [url, database] of [
      [`${redis.url}/7`, 7],
      [`unix://${redis.socketPath}?db=3`, 3],
      [redis.url, 0],
    ] as const) {
      const limiter = new RateLimiter({ redis: url, rate: 1, period: '1h' });
      expect(await limiter.allow('user')).toMatchObject({ allowed: true, degraded: false });
      await limiter.close();
      expect((await redis.info('keyspace'))[`db${database}`]).toMatch(/^keys=1,expires=1,/);
    }
  });

  test('ready() rejects with the reason when a wrong password makes calls fail open', async () => {
    const url = `redis://:wrong-secret@127.0.0.1:${guarded.port}`;
    const limiter = new RateLimiter({ redis: url, rate: 1, period: '1h' });
    const error: unknown = await limiter.ready().catch((reason: unknown) => reason);
    await limiter.close();
    expect(error).toMatchObject({ name: 'StoreError' });
    const { message, cause } = error as Error;
    expect(`${message} ${String(cause)}`).toMatch(/WRONGPASS|NOAUTH/);
    expect(`${message} ${String(cause)}`).not.toContain('wrong-secret');
  });

  declareInstalled(
    'with node-redis, where ioredis is not installed',
    () => nodeRedisOnly,
    () => ({ url: redis.url }),
  );
  declareInstalled(
    'with node-redis 4, where no other is installed',
    () => nodeRedis4Only,
    () => ({ url: redis.url }),
  );
  declareInstalled(
    'with node-redis 4, of a cluster',
    () => nodeRedis4Only,
    () => ({ url: cluster.nodes[2]!.url, cluster: true }),
  );
  declareInstalled(
    'with node-redis, of a cluster',
    () => nodeRedisOnly,
    () => ({ url: cluster.nodes[2]!.url, cluster: true }),
  );
  declareInstalled(
    'with node-redis, a password and a database number',
    () => nodeRedisOnly,
    () => ({ url: `redis://:${login}@127.0.0.1:${guarded.port}/2` }),
  );
  declareInstalled(
    'with node-redis, of a unix socket',
    () => nodeRedisOnly,
    () => ({ url: `unix://${redis.socketPath}` }),
  );
});

describe.skipIf(tlsMissing())('TLS', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let ioredisOnly: Installed;
  let nodeRedisOnly: Installed;

  beforeAll(async () => {
    redis = await startRedis({ tls: true });
    ioredisOnly = install(['ioredis']);
    nodeRedisOnly = install(['redis']);
  });
  afterAll(async () => {
    ioredisOnly.remove();
    nodeRedisOnly.remove();
    await redis.close();
  });

  declareInstalled(
    'rediss:// with ioredis, in a process that trusts the authority',
    () => ioredisOnly,
    () => ({ url: redis.url }),
    () => redis.trusting!,
  );
  declareInstalled(
    'rediss:// by name with node-redis, in a process that trusts the authority',
    () => nodeRedisOnly,
    () => ({ url: `rediss://localhost:${redis.port}` }),
    () => redis.trusting!,
  );

  describe('a client that was given the authority', () => {
    let ioredis: Redis;
    let nodeRedis: { destroy(): void } & Parameters<typeof useNodeRedis>[0];
    function useNodeRedis(client: ReturnType<typeof makeNodeRedis>): typeof client {
      return client;
    }
    function makeNodeRedis() {
      return createClient({
        socket: { host: 'localhost', port: redis.port, tls: true, ca: redis.tls!.ca },
      }).on('error', () => {});
    }
    beforeAll(async () => {
      ioredis = new Redis({
        host: 'localhost',
        port: redis.port,
        tls: { ca: redis.tls!.ca },
        maxRetriesPerRequest: 0,
      });
      nodeRedis = useNodeRedis(makeNodeRedis());
      await nodeRedis.connect();
    });
    afterAll(() => {
      ioredis.disconnect();
      nodeRedis.destroy();
    });
    declareStore('ioredis', () => ({ redis: ioredis }));
    declareStore('node-redis', () => ({ redis: nodeRedis }));
  });

  test('a certificate of an untrusted authority is an error, and no connection is made', async () => {
    const limiter = new RateLimiter({ redis: redis.url, rate: 1, period: '1h' });
    const error: unknown = await limiter.ready().catch((reason: unknown) => reason);
    await limiter.close();
    expect(error).toMatchObject({ name: 'StoreError', reason: 'store_away' });
    expect(String((error as Error).cause)).toMatch(/certificate/i);
  });
});
