import { MemoryStore, RateLimiter } from 'distributed-rate-limiter';
import { logStoreState } from 'distributed-rate-limiter/log';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCluster, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { ReplyError } from '../../kit/fakes/fake-client.ts';
import { FakeRedis, silence } from '../../kit/fakes/fake-redis.ts';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

const warnings = collectWarnings();
const warned = async (): Promise<string[]> => (await warnings()).map(({ message }) => message);

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0)) await each();
});

const rule = { rate: 1_000, period: '1h', timeoutMs: 200 } as const;
/**
 * For outages that end with a new connection. A server that just started may answer later than 200 ms on a busy
 * machine. That would be reported as another outage, of a hanging server.
 */
const patient = { timeoutMs: 10_000 } as const;

function limiterOn(server: string | FakeRedis, options: object = {}): RateLimiter {
  const limiter = new RateLimiter({ redis: server, ...rule, ...options });
  undo.push(() => limiter.close());
  return limiter;
}

/** Makes many calls throughout an outage, until the store decides again. */
async function callUntil(limiter: RateLimiter, degraded: boolean): Promise<void> {
  await waitUntil(`calls that are ${degraded ? '' : 'not '}degraded`, async () => {
    const decisions = await Promise.all(
      Array.from({ length: 20 }, (_, i) => limiter.allow(`canary-${i}`)),
    );
    return decisions.every((decision) => decision.degraded === degraded);
  });
}

describe('a logger of store states', () => {
  let lines: [level: string, text: string][] = [];
  const logger = {
    warn: (text: string) => lines.push(['warn', text]),
    info: (text: string) => lines.push(['info', text]),
  };
  beforeEach(() => {
    lines = [];
  });

  test('logs away and its end once each, however many calls there are', async () => {
    undo.push(logStoreState({ logger }));
    const limiter = limiterOn(redis.url, patient);
    await limiter.ready();
    expect(lines).toEqual([]);
    await redis.kill();
    await callUntil(limiter, true);
    await redis.start();
    await callUntil(limiter, false);
    const place = `Redis at 127.0.0.1:${redis.port}`;
    expect(lines).toEqual([
      [
        'warn',
        expect.stringMatching(`^${place} is away: decisions are made by the failure strategy`),
      ],
      ['info', `${place} answers again.`],
    ]);
    expect(await warned()).toEqual([]);
  });

  test('logs hung and its end', async () => {
    undo.push(logStoreState({ logger }));
    const limiter = limiterOn(redis.url);
    await limiter.ready();
    await redis.stop();
    await callUntil(limiter, true);
    await redis.cont();
    await callUntil(limiter, false);
    expect(lines.map(([level, text]) => [level, text.replace(/^.*:\d+ /, '')])).toEqual([
      [
        'warn',
        'does not answer: decisions are made by the failure strategy (Redis did not answer within 200 ms).',
      ],
      ['info', 'answers again.'],
    ]);
  });

  test('logs the end of an outage as a warning when it has no `info`', async () => {
    undo.push(logStoreState({ logger: { warn: logger.warn } }));
    const fake = new FakeRedis();
    const limiter = limiterOn(fake);
    await limiter.allow('a');
    fake.become('away');
    fake.become('ready');
    expect(lines.map(([level]) => level)).toEqual(['warn', 'warn']);
  });

  test('may throw without breaking a call', async () => {
    undo.push(
      logStoreState({
        logger: {
          warn: () => {
            throw new Error('the disk is full');
          },
        },
      }),
    );
    const fake = new FakeRedis();
    const limiter = limiterOn(fake);
    await limiter.allow('a');
    fake.become('away');
    expect(await limiter.allow('a')).toMatchObject({ reason: 'store_away' });
  });

  test('logs nothing for a connection closed on purpose, nor after it was stopped', async () => {
    const stop = logStoreState({ logger });
    const limiter = limiterOn(redis.url);
    await limiter.ready();
    await limiter.close();
    const fake = new FakeRedis();
    await limiterOn(fake).allow('a');
    stop();
    fake.become('away');
    expect(lines).toEqual([]);
  });

  test('logs which node of a cluster does not answer', async () => {
    undo.push(logStoreState({ logger }));
    const cluster = await startCluster();
    undo.push(() => cluster.close());
    const [first, other] = cluster.nodes;
    const limiter = new RateLimiter({ redis: first!.url, cluster: true, ...rule, timeoutMs: 500 });
    undo.push(() => limiter.close());
    await limiter.ready();
    const allOver = () => Promise.all(Array.from({ length: 50 }, (_, i) => limiter.allow(`${i}`)));
    await waitUntil('all nodes to answer', async () =>
      (await allOver()).every(({ degraded }) => !degraded),
    );
    lines = [];
    await other!.stop();
    await allOver();
    const place = `Node 127.0.0.1:${other!.port} of Redis at 127.0.0.1:${first!.port}`;
    expect(lines).toEqual([['warn', expect.stringMatching(`^${place} does not answer: `)]]);
    await other!.cont();
  });

  test.each([
    ['a missing logger', {}, /`logger` must be an object with warn\(text\), got undefined/],
    ['a function as logger', { logger: () => {} }, /`logger` must be an object with warn\(text\)/],
    ['an unknown option', { log: console }, /Did you mean `logger`\?/],
  ])('refuses %s', (_, options, message) => {
    expect(() => logStoreState(options as never)).toThrow(message);
  });
});

/** Answers each send as a server that refuses it. */
const refuse = (text: string) => (): never => {
  throw new ReplyError(text);
};

describe('process warnings without a listener', () => {
  test('an outage that degrades decisions emits one process warning, and its end another', async () => {
    const limiter = limiterOn(redis.url, patient);
    await limiter.ready();
    await redis.kill();
    await callUntil(limiter, true);
    await redis.start();
    await callUntil(limiter, false);
    expect(await warned()).toEqual([
      expect.stringContaining('is away: decisions are made by the failure strategy'),
      expect.stringContaining('answers again.'),
    ]);
    expect((await warnings())[0]).toMatchObject({
      name: 'RateLimiterWarning',
      code: 'DRL_STORE_STATE',
    });
    expect((await warned()).join()).not.toContain('canary');
  });

  test('a hanging server emits one process warning', async () => {
    const fake = new FakeRedis();
    const limiter = limiterOn(fake, { timeoutMs: 10 });
    fake.respond = silence;
    for (let i = 0; i < 5; i++) await limiter.allow('a');
    expect(await warned()).toEqual([expect.stringContaining('Redis does not answer')]);
  });

  test.each(['away', 'ready'] as const)(
    'no process warning is emitted where `onError` is given, with a client that is %s',
    async (state) => {
      let errors = 0;
      const fake = new FakeRedis(state);
      fake.respond = refuse('NOREPLICAS Not enough good replicas to write.');
      const limiter = limiterOn(fake, { onError: () => (errors += 1) });
      await limiter.allow('a');
      expect(errors).toBe(1);
      expect(await warned()).toEqual([]);
    },
  );

  test('a server that refuses every call emits one process warning', async () => {
    const fake = new FakeRedis();
    fake.respond = refuse("READONLY You can't write against a read only replica.");
    const limiter = limiterOn(fake);
    for (let i = 0; i < 5; i++) await limiter.allow('canary');
    expect(await warned()).toEqual([
      'Redis refused: READONLY. Decisions are made by the failure strategy.',
    ]);
    expect((await warnings())[0]).toMatchObject({
      name: 'RateLimiterWarning',
      code: 'DRL_DEGRADED',
    });
  });

  test('a server that refuses emits its process warning while states are logged', async () => {
    undo.push(logStoreState({ logger: { warn: () => {} } }));
    const fake = new FakeRedis();
    fake.respond = refuse('MISCONF Errors writing to the AOF file.');
    await limiterOn(fake).allow('a');
    expect(await warned()).toHaveLength(1);
  });

  test('a memory store at its bound emits one process warning', async () => {
    const limiter = new RateLimiter({
      store: new MemoryStore({ maxKeys: 1 }),
      rate: 5,
      period: '1h',
    });
    undo.push(() => limiter.close());
    for (const identity of ['a', 'b', 'c', 'd']) await limiter.allow(identity);
    expect(await warned()).toHaveLength(1);
  });

  test('a connection that breaks under a call and is open again emits two process warnings', async () => {
    const fake = new FakeRedis();
    const limiter = limiterOn(fake);
    await limiter.allow('a');
    const { respond } = fake;
    fake.respond = () => {
      throw new Error('read ECONNRESET');
    };
    // The client never says that it is away.
    for (let i = 0; i < 5; i++) {
      expect(await limiter.allow('a')).toMatchObject({ reason: 'store_away' });
    }
    fake.respond = respond;
    expect(await limiter.allow('a')).toMatchObject({ degraded: false });
    expect(await warned()).toEqual([
      'Redis is away: decisions are made by the failure strategy (read ECONNRESET).',
      'Redis answers again.',
    ]);
  });

  test('two limiters on one connection emit one warning', async () => {
    const fake = new FakeRedis('away');
    for (const namespace of ['one', 'two']) await limiterOn(fake, { namespace }).allow('a');
    expect(await warned()).toHaveLength(1);
  });

  test('an outage without a degraded decision emits no process warning', async () => {
    const client = new Redis(redis.url, { maxRetriesPerRequest: 0 });
    const limiter = new RateLimiter({ redis: client, ...rule });
    await limiter.allow('a');
    await client.quit();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await warned()).toEqual([]);
  });
});
