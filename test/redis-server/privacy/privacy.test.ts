import { randomBytes } from 'node:crypto';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type {
  CheckMessage,
  Decision,
  FailStrategy,
  Identity,
  RateLimiterOptions,
  StoreCallMessage,
} from 'distributed-rate-limiter';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { Registry } from 'prom-client';
import { digestIdentity } from '../../../src/base/identity.ts';
import { startFaultProxy, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';
import { LIBRARIES, openClient } from '../../system/processes/clients.mjs';
import { watchOutput } from './output.ts';
import { Search } from './traces.ts';

const tag = randomBytes(8).toString('hex');
const canary = `canary-${tag}`;
const hashSecret = `secret-${tag}-of-thirty-two-bytes-and-more`;
const password = `password-${tag}`;

/** Every third identity has several parts, every fourth is within a sentence. */
const canaries = Array.from({ length: 10_000 }, (_, i): Identity => {
  const text = i % 4 === 0 ? `to: ${canary}-${i}@example.org` : `${canary}-${i}`;
  return i % 3 === 0 ? ['org', text] : text;
});

const limits = [
  tokenBucket({ rate: 2, period: '1h' }),
  tokenBucket({ name: 'second', rate: 3, period: '1h' }),
];

/** Formats a value as a logger does: with all its properties, hidden ones too. */
function logged(value: unknown): string {
  return inspect(value, {
    depth: Infinity,
    showHidden: true,
    maxStringLength: null,
    maxArrayLength: null,
  });
}

/** The messages of an error and of all its causes. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${error.name} ${error.message} ${error.stack} ${JSON.stringify(error)} ${error.cause === undefined ? '' : wordsOf(error.cause)}`;
}

interface Fault {
  readonly name: string;
  readonly options?: Record<string, unknown>;
  begin(namespace: string, identities: readonly Identity[]): unknown;
  end?(): unknown;
}

describe('10,000 identities, a hash secret and a password', () => {
  let redis: RedisServer;
  let proxy: FaultProxy;
  let monitor: Awaited<ReturnType<RedisServer['monitor']>>;
  /** Texts that the library emits. */
  const search = new Search({ canary, hashSecret, password });
  /** Texts on the server, which of course knows its own password. */
  const serverSearch = new Search({ canary, hashSecret });
  const register = new Registry();
  const undo: (() => unknown)[] = [];
  const outcomes: Record<string, number> = {};

  beforeAll(async () => {
    redis = await startRedis({
      password,
      config: {
        'slowlog-log-slower-than': 0,
        'slowlog-max-len': 1_000,
        loglevel: 'debug',
        rdbcompression: 'no',
        appendonly: 'yes',
        'maxmemory-policy': 'noeviction',
      },
    });
    proxy = await startFaultProxy(redis);
    monitor = await redis.monitor((line) => serverSearch.look('MONITOR', line));
    const onState = (message: unknown): void => search.look('channel of states', logged(message));
    subscribe('distributed-rate-limiter:store', onState);
    const onCheck = (message: CheckMessage): void => {
      const failed = message.error !== undefined || message.result?.degraded === true;
      search.look('channel of checks', failed ? logged(message) : JSON.stringify(message));
    };
    const checks = tracingChannel<unknown, CheckMessage>('distributed-rate-limiter:check');
    const onCall = (message: unknown): void =>
      search.look('channels of script calls', logged(message));
    const calls = tracingChannel<unknown, StoreCallMessage>('distributed-rate-limiter:store-call');
    const callListeners = {
      start: onCall,
      end: onCall,
      asyncStart: onCall,
      asyncEnd: onCall,
      error: onCall,
    };
    calls.subscribe(callListeners);
    subscribe('distributed-rate-limiter:store-submit', onCall);
    const stopMetrics = prometheusMetrics({ register });
    const listeners = {
      start: onCheck,
      end: onCheck,
      asyncStart: onCheck,
      asyncEnd: onCheck,
      error: onCheck,
    };
    checks.subscribe(listeners);
    undo.push(
      watchOutput((what, text) => search.look(what, text)),
      () => unsubscribe('distributed-rate-limiter:store', onState),
      () => checks.unsubscribe(listeners),
      () => calls.unsubscribe(callListeners),
      () => unsubscribe('distributed-rate-limiter:store-submit', onCall),
      stopMetrics,
      () => monitor.stop(),
    );
  });
  afterAll(async () => {
    for (const each of undo) await each();
    await proxy.close();
    await redis.close();
  });

  function limiterOn(options: Record<string, unknown>): RateLimiter {
    return new RateLimiter({
      namespace: 'privacy',
      limits,
      timeoutMs: 10_000,
      onError: (error: unknown) => search.look('onError', logged(error) + wordsOf(error)),
      ...options,
    } as unknown as RateLimiterOptions);
  }

  /** Runs every verb for every identity, so that each passes, is refused, asks for too much, and is reset. */
  async function useAll(limiter: RateLimiter, identities: readonly Identity[]): Promise<void> {
    const note = (outcome: string): void => {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    };
    const decided = (decision: Decision): void => {
      note(decision.reason);
      if (!decision.degraded) return;
      note('degraded');
      search.look('degraded decision', logged(decision) + wordsOf(decision.error));
    };
    const failed = (error: unknown): void => {
      note('rejected');
      search.look('rejection', logged(error) + wordsOf(error));
    };
    for (let from = 0; from < identities.length; from += 500) {
      await Promise.all(
        identities
          .slice(from, from + 500)
          .flatMap((identity) => [
            limiter.allow(identity, { cost: 2 }).then(decided, failed),
            limiter.allow(identity).then(decided, failed),
            limiter.peek(identity).then(decided, failed),
            limiter.reset(identity).then(() => note('reset'), failed),
            limiter.allow(identity, { cost: 1_000_000 }).then(decided, failed),
            limiter.allow(identity).then(decided, failed),
          ]),
      );
    }
  }

  async function lookAtSlowlog(): Promise<void> {
    const entries: unknown[] = await redis.command('SLOWLOG', 'GET', -1);
    for (const entry of entries) serverSearch.look('SLOWLOG', JSON.stringify(entry));
  }

  test('every verb uses them on connections opened from a URL', async () => {
    const limiter = limiterOn({ redis: redis.url });
    await limiter.ready();
    await useAll(limiter, canaries);
    await limiter.close();
    await lookAtSlowlog();
    const onBlock = (): never => {
      throw new Error('a hook that fails');
    };
    const secretly = limiterOn({ redis: redis.url, hashSecret, onBlock });
    await useAll(secretly, canaries.slice(0, 1_000));
    await secretly.close();
    expect(outcomes).toEqual({
      within_limit: 22_000,
      limited: 22_000,
      impossible: 11_000,
      reset: 11_000,
    });
  });

  const faults: Fault[] = [
    {
      name: 'foreign',
      begin: async (namespace, identities) => {
        for (const [i, identity] of identities.entries()) {
          for (const secret of [undefined, hashSecret]) {
            const key = `${namespace}:token_bucket:${digestIdentity(identity, secret)}`;
            await redis.command('DEL', key);
            await (i % 2 === 0
              ? redis.command('RPUSH', key, 'x')
              : redis.command('SET', key, 'not a state'));
          }
        }
      },
    },
    {
      name: 'full',
      begin: () => redis.command('CONFIG', 'SET', 'maxmemory', 1),
      end: () => redis.command('CONFIG', 'SET', 'maxmemory', 0),
    },
    { name: 'silent', begin: () => proxy.stall() },
    { name: 'cut', begin: () => proxy.dropReplies({ cut: true }) },
    { name: 'refusing', begin: () => proxy.refuse() },
    { name: 'busy', begin: () => proxy.reply('-BUSY Redis is busy running a script') },
    { name: 'forbidden', begin: () => proxy.reply('-NOPERM this user has no permissions') },
    { name: 'of-another-form', begin: () => proxy.reply('$5\r\nhello') },
    { name: 'garbled', begin: () => proxy.garbage() },
    { name: 'overloaded', options: { maxInFlight: 10 }, begin: () => {} },
  ];

  test.each(
    LIBRARIES.flatMap((library) =>
      faults.flatMap((fault) =>
        (['open', 'throw'] as const).map((failStrategy: FailStrategy) => ({
          library,
          fault,
          name: fault.name,
          failStrategy,
        })),
      ),
    ),
  )(
    '$library uses them while Redis is $name, with failStrategy $failStrategy',
    async ({ library, fault, name, failStrategy }) => {
      const namespace = `privacy-${library}-${name}`;
      const identities = canaries.slice(0, 60);
      const { client, end } = await openClient(library, proxy.port, password);
      const limiter = limiterOn({
        redis: client,
        namespace,
        failStrategy,
        timeoutMs: 500,
        ...(failStrategy === 'open' ? { hashSecret } : {}),
        ...fault.options,
      });
      await limiter.ready();
      const kind = failStrategy === 'open' ? 'degraded' : 'rejected';
      const before = outcomes[kind] ?? 0;
      await fault.begin(namespace, identities);
      await useAll(limiter, identities);
      await proxy.pass();
      await fault.end?.();
      end();
      await limiter.close();
      expect((outcomes[kind] ?? 0) - before).toBeGreaterThan(0);
    },
  );

  test.each<[string, unknown]>([
    ['empty parts', [canary, '']],
    ['half a character', `${canary}\ud800`],
    ['too many bytes', canary.repeat(100)],
    ['too many bytes in parts', [canary.repeat(20), canary.repeat(30)]],
    ['an object', { id: canary }],
    ['a function', () => canary],
  ])('refuses them as identities: %s', async (_, identity) => {
    const limiter = limiterOn({ redis: redis.url });
    for (const call of [
      limiter.allow(identity as Identity),
      limiter.peek(identity as Identity),
      limiter.reset(identity as Identity),
    ]) {
      const error = await call.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ERR_INVALID_IDENTITY' });
      search.look('rejection', logged(error) + wordsOf(error));
    }
    await limiter.close();
  });

  test('leave no trace in what the server received or stored', async () => {
    await redis.command('ECHO', 'the end');
    await waitUntil('the monitor', () => monitor.lines.at(-1)?.includes('the end') === true);
    let cursor = '0';
    do {
      const [next, keys]: [string, string[]] = await redis.command('SCAN', cursor, 'COUNT', 1_000);
      for (const key of keys) serverSearch.look('keys', key);
      // MGET returns null for keys that hold no string, which only this test writes.
      const values: (string | null)[] =
        keys.length === 0 ? [] : await redis.command('MGET', ...keys);
      for (const value of values) serverSearch.look('values', value ?? '');
      cursor = next;
    } while (cursor !== '0');
    await lookAtSlowlog();
    serverSearch.look('ACL LOG', logged(await redis.command('ACL', 'LOG')));
    serverSearch.look('CLIENT LIST', await redis.command('CLIENT', 'LIST'));
    await redis.command('SAVE');
    for (const name of readdirSync(redis.dir, { recursive: true, encoding: 'utf8' })) {
      const path = join(redis.dir, name);
      if (statSync(path).isFile())
        serverSearch.look(name.replace(/^.*\./, 'file '), readFileSync(path, 'latin1'));
    }
    console.log(`looked at ${JSON.stringify(serverSearch.looked)}`);
    expect(serverSearch.traces).toEqual([]);
    const { looked } = serverSearch;
    expect(looked['keys']).toBeGreaterThan(10_000);
    expect(looked['MONITOR']).toBeGreaterThan(100);
    expect(Object.keys(looked)).toEqual(
      expect.arrayContaining(['file rdb', 'file aof', 'file log']),
    );
    // The same search finds texts that must be there: the digest, in all of these sources.
    const digest = digestIdentity(canaries[1]!, undefined);
    const control = new Search({ digest });
    for (const line of monitor.lines) control.look('MONITOR', line);
    control.look('the dump', readFileSync(join(redis.dir, 'dump.rdb'), 'latin1'));
    const found = new Set(control.traces.map((trace) => trace.replace(/:.*/s, '')));
    expect(found).toEqual(new Set(['digest in MONITOR', 'digest in the dump']));
  });

  test('leave no trace in errors, decisions, hooks, channels, warnings and output', async () => {
    console.log(`looked at ${JSON.stringify(search.looked)}; outcomes ${JSON.stringify(outcomes)}`);
    search.look('metrics', await register.metrics());
    expect(search.traces).toEqual([]);
    const everywhere = [
      'onError',
      'degraded decision',
      'rejection',
      'channel of checks',
      'channel of states',
      'channels of script calls',
      'metrics',
      'warning',
      'output',
    ];
    expect(Object.keys(search.looked)).toEqual(expect.arrayContaining(everywhere));
  });
});

describe('a secret in a wrong option', () => {
  const secret = `secret-${tag}-of-thirty-two-bytes-and-more`;
  const url = `redis://user:${password}@127.0.0.1:1`;
  const right = { redis: 'redis://127.0.0.1:1', rate: 1, period: '1s' };

  test.each<[string, unknown]>([
    ['a URL of another kind', { ...right, redis: `http://user:${password}@127.0.0.1` }],
    ['a URL that is none', { ...right, redis: `redis://user:${password}@127.0.0.1:port` }],
    ['a URL with a query', { ...right, redis: `${url}/0?x=1` }],
    ['a URL as all options', url],
    ['a URL under the name that others give it', { url, rate: 1, period: '1s' }],
    ['a URL under a misspelt name', { redi: url, rate: 1, period: '1s' }],
    ['a URL as the store', { store: url, rate: 1, period: '1s' }],
    ['a URL as cluster', { ...right, cluster: url }],
    ['a URL as namespace', { ...right, namespace: url }],
    ['URLs in an array', { ...right, redis: [url] }],
    ['a secret under a misspelt name', { ...right, hashsecret: secret }],
    ['a secret under another name', { ...right, secret }],
    ['a secret that is too short', { ...right, hashSecret: `s-${tag}` }],
    ['a secret of another type', { ...right, hashSecret: { secret } }],
    ['a password as an option', { ...right, password }],
  ])('the error does not repeat the secret: %s', (_, options) => {
    const search = new Search({ tag });
    let error: unknown;
    try {
      void new RateLimiter(options as RateLimiterOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
    search.look('error', logged(error) + wordsOf(error));
    expect(search.traces).toEqual([]);
  });
});

describe('a password that Redis refuses', () => {
  let redis: RedisServer;
  const search = new Search({ password });
  const onState = (message: unknown): void => search.look('channel', logged(message));

  beforeAll(async () => {
    redis = await startRedis({ password: 'another one' });
    subscribe('distributed-rate-limiter:store', onState);
  });
  afterAll(async () => {
    unsubscribe('distributed-rate-limiter:store', onState);
    await redis.close();
  });

  test.each(['', 'user'])(
    'is in no error of a connection opened from a URL, user %j',
    async (user) => {
      const limiter = new RateLimiter({
        redis: `redis://${user}:${password}@127.0.0.1:${redis.port}`,
        rate: 1,
        period: '1s',
        onError: (error) => search.look('onError', logged(error) + wordsOf(error)),
      });
      const error: unknown = await limiter.ready().catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        code: 'ERR_STORE_AWAY',
        cause: { message: expect.stringMatching(/WRONGPASS/) as string },
      });
      search.look('ready', logged(error) + wordsOf(error));
      search.look('allow', logged(await limiter.allow('user')));
      await limiter.close();
      expect(Object.keys(search.looked).sort()).toEqual(['allow', 'channel', 'onError', 'ready']);
      expect(search.traces).toEqual([]);
    },
  );
});
