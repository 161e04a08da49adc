import { randomUUID } from 'node:crypto';
import { RateLimiter } from 'distributed-rate-limiter';
import type { Decision, DegradedDecision, RateLimiterOptions } from 'distributed-rate-limiter';
import { startRelay } from 'distributed-rate-limiter/testing';
import type { Relay } from 'distributed-rate-limiter/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { UpstashOptions } from '../../installs/clients/index.mjs';
import { loadClient } from '../../installs/clients/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { startRedis, startRestServer } from '../../kit/servers/index.mjs';
import { declareClient, declareStore } from './subjects.ts';

const { Redis } = loadClient('@upstash/redis');
const ONCE = { retries: 0 } as const;

let redis: Awaited<ReturnType<typeof startRedis>>;
let rest: Awaited<ReturnType<typeof startRestServer>>;
let relay: Relay;
const warnings = collectWarnings();

beforeAll(async () => {
  redis = await startRedis();
  rest = await startRestServer(redis);
  relay = await startRelay({ port: rest.port });
});
beforeEach(() => {
  rest.requests.length = 0;
  rest.instead.length = 0;
});
afterAll(async () => {
  await relay.close();
  await rest.close();
  await redis.close();
});

function open({ url = rest.url, retry = ONCE, ...settings }: Partial<UpstashOptions> = {}) {
  return new Redis({ url, token: rest.token, enableTelemetry: false, retry, ...settings });
}

function limiterOn(client: ReturnType<typeof open>, options: Partial<RateLimiterOptions> = {}) {
  return new RateLimiter({
    redis: client,
    namespace: `upstash-${randomUUID()}`,
    timeoutMs: 5_000,
    onError() {},
    rate: 3,
    period: '1h',
    ...options,
  } as RateLimiterOptions);
}

function degraded(decision: Decision): DegradedDecision {
  if (!decision.degraded) throw new Error(`decided: ${decision.reason}`);
  return decision;
}

const SETTINGS: readonly (readonly [string, Partial<UpstashOptions>])[] = [
  ['default settings', {}],
  ['without pipelines', { enableAutoPipelining: false }],
  [
    'plain text, replies as they come',
    { responseEncoding: false, automaticDeserialization: false },
  ],
];

for (const [title, settings] of SETTINGS) {
  let client: ReturnType<typeof open> | undefined;
  declareStore(`@upstash/redis, ${title}`, () => ({ redis: (client ??= open(settings)) }));
}

const DIGITS = 'the client makes numbers of strings of digits, which the library reads alike';

for (const automaticDeserialization of [true, false]) {
  declareClient(
    `@upstash/redis, automaticDeserialization: ${automaticDeserialization}`,
    () => ({
      open: async () => ({
        redis: open({ url: `http://127.0.0.1:${relay.port}`, automaticDeserialization }),
        close: () => {},
      }),
      faults: relay,
    }),
    automaticDeserialization
      ? {
          'takes 128 keys and three thousand arguments in one call': DIGITS,
          'sends each call once and resolves it with its own reply': DIGITS,
        }
      : {},
    { tellsOfLoss: false },
  );
}

describe.each(SETTINGS)('@upstash/redis, %s', (_, settings) => {
  test('a batch is one request, and is sent again with the text for a server without the script', async () => {
    const limiter = limiterOn(open(settings));
    await limiter.ready();
    await redis.command('SCRIPT', 'FLUSH');
    rest.requests.length = 0;
    const decisions = await Promise.all(
      Array.from({ length: 20 }, (_each, i) => limiter.allow(`user:${i}`)),
    );
    expect(decisions.filter(({ reason }) => reason === 'within_limit')).toHaveLength(20);
    const sent = rest.requests.map(
      ([[command = '', , keys] = [] as readonly string[], ...more]) => [
        command.toLowerCase(),
        Number(keys),
        more.length,
      ],
    );
    expect(sent).toEqual([
      ['evalsha', 20, 0],
      ['eval', 20, 0],
    ]);
  });

  test.each([
    [400, '{"error":"OOM command not allowed when used memory > \'maxmemory\'."}', 'OOM'],
    [429, '{"error":"ERR max requests limit exceeded. Limit: 500000"}', 'ERR'],
  ])('an error of the server with status %i is its answer', async (status, body, kind) => {
    const limiter = limiterOn(open(settings));
    rest.instead.push({ status, body });
    expect(await limiter.allow('user')).toMatchObject({
      reason: 'store_error',
      error: { message: `Redis refused: ${kind}.` },
    });
  });

  test.each([
    [502, '<html>Bad Gateway</html>'],
    [503, '{"error":"upstream connect error"}'],
    [404, '{"error":"not found"}'],
  ])('the answer of a gateway with status %i is an outage', async (status, body) => {
    const limiter = limiterOn(open(settings));
    rest.instead.push({ status, body });
    expect(await limiter.allow('user')).toMatchObject({ reason: 'store_away', degraded: true });
    expect(await limiter.allow('user')).toMatchObject({ reason: 'within_limit' });
  });
});

test('a wrong token is an answer of the server, without the token', async () => {
  const limiter = limiterOn(new Redis({ url: rest.url, token: 'wrong-secret', retry: ONCE }));
  const { reason, error } = degraded(await limiter.allow('user'));
  expect([reason, error?.message]).toEqual(['store_error', 'Redis refused: WRONGPASS.']);
  expect(String(error?.cause)).not.toContain('secret');
});

test('no error repeats the command that the client quotes', async () => {
  const limiter = limiterOn(open({ enableAutoPipelining: false }), { timeoutMs: 5_000 });
  rest.instead.push(
    { status: 400, body: '{"error":"ERR something"}' },
    { status: 503, body: '{"error":"upstream"}' },
  );
  for (const reason of ['store_error', 'store_away']) {
    const { error, reason: why } = degraded(await limiter.allow('user'));
    expect(why).toBe(reason);
    expect(String(error?.cause)).not.toMatch(/[0-9a-f]{16}|evalsha/i);
  }
});

test("commands of the application's own share a request, and keep their errors apart", async () => {
  const client = open();
  const limiter = limiterOn(client);
  await limiter.ready();
  await redis.command('SET', 'text', 'words');
  const [decision, text, wrong] = await Promise.all([
    limiter.allow('user'),
    client.get('text'),
    client.evalsha('0'.repeat(40), [], []).catch(String),
  ]);
  expect(decision.reason).toBe('within_limit');
  expect(text).toBe('words');
  expect(wrong).toContain('NOSCRIPT');
});

test("the client's own timeout is a timeout", async () => {
  const client = open({
    url: `http://127.0.0.1:${relay.port}`,
    signal: () => AbortSignal.timeout(200),
  });
  const limiter = limiterOn(client);
  await relay.stall();
  try {
    expect(await limiter.allow('user')).toMatchObject({
      reason: 'store_timeout',
      error: { message: "The client's own timeout came before `timeoutMs`." },
    });
  } finally {
    await relay.restore();
  }
});

describe('a response that is lost after the server ran the command', () => {
  async function charges(settings: Partial<UpstashOptions>): Promise<number> {
    const namespace = `lost-${randomUUID()}`;
    const options = { namespace, rate: 9, timeoutMs: 3_000 };
    const limiter = limiterOn(open(settings), options);
    const observer = limiterOn(open(), options);
    await observer.ready();
    rest.lost = 1;
    await limiter.allow('user');
    return 9 - (await observer.peek('user')).remaining!;
  }

  test('is charged once by a client that does not retry, without a warning', async () => {
    expect(await charges({ retry: ONCE })).toBe(1);
    expect(await warnings()).toEqual([]);
  });

  test.each([
    ['default settings', { retries: 5, backoff: () => 10 }],
    ['retry: false', false],
  ] as const)('is charged twice by a client that retries, with a warning: %s', async (_, retry) => {
    expect(await charges({ retry })).toBe(2);
    const [warning, ...more] = await warnings();
    expect(warning).toMatchObject({
      code: 'DRL_CLIENT_RESENDS',
      message: expect.stringContaining('`retry: { retries: 0 }`'),
    });
    expect(more).toEqual([]);
  });
});

test('metrics name the host of the service', async () => {
  const { makePort } = await import('../../../src/redis/clients/connect.ts');
  expect(makePort(open()).address).toBe(`127.0.0.1:${rest.port}`);
});
