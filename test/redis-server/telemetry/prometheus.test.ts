import { spawnSync } from 'node:child_process';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { AggregatorRegistry, Counter, Registry } from 'prom-client';
import type { OpenMetricsContentType } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { findPrometheus, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';
import { readExposition } from './exposition.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0)) await each();
});

function exported(options: Partial<Parameters<typeof prometheusMetrics>[0]> = {}): Registry {
  const register = new Registry();
  undo.push(prometheusMetrics({ register, ...options }));
  return register;
}

function limiterOf(options: object): RateLimiter {
  const limiter = new RateLimiter({ timeoutMs: 10_000, ...options } as RateLimiterOptions);
  undo.push(() => limiter.close());
  return limiter;
}

const embedded = (options: object) =>
  limiterOf({ store: new MemoryStore({ maxKeys: 200_000 }), timeoutMs: undefined, ...options });

async function scrape(register: Registry): Promise<Map<string, number>> {
  return readExposition(await register.metrics());
}

/** The series whose names begin with this prefix, without it. */
function under(series: ReadonlyMap<string, number>, name: string): Record<string, number> {
  return Object.fromEntries(
    [...series]
      .filter(([key]) => key.startsWith(`${name}{`))
      .map(([key, value]) => [key.slice(name.length), value]),
  );
}

describe('on a real server', () => {
  let redis: RedisServer;
  let store = '';
  let register: Registry;
  /** An unobserved outage causes process warnings, which are not the subject here. */
  collectWarnings();
  beforeAll(async () => {
    redis = await startRedis();
    store = `127.0.0.1:${redis.port}`;
  });
  afterAll(() => redis.close());
  beforeEach(() => {
    register = exported();
  });

  /** A deadline that servers are made to miss. */
  const timeoutMs = 150;
  const onStore = (name: string, labels = '') => `${name}{${labels}store="${store}"}`;
  const onNode = (name: string) => `${name}{node="",store="${store}"}`;

  test('decisions are counted by limiter and by limit', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      namespace: 'traffic',
      blocks: true,
      limits: [
        tokenBucket({ rate: 5, period: '1h' }),
        tokenBucket({ name: 'trial', rate: 1, period: '1h', shadow: true }),
      ],
    });
    await limiter.ready();
    for (let i = 0; i < 8; i++) await limiter.allow('alice');
    await limiter.allow('bob', { cost: 6 });
    await limiter.block('carol', '1m');
    await limiter.allow('carol');

    const series = await scrape(register);
    expect(under(series, 'drl_decisions_total')).toEqual({
      '{limiter="traffic",outcome="allowed",reason="within_limit"}': 5,
      '{limiter="traffic",outcome="allowed",reason="unlimited"}': 0,
      '{limiter="traffic",outcome="allowed",reason="store_timeout"}': 0,
      '{limiter="traffic",outcome="allowed",reason="store_away"}': 0,
      '{limiter="traffic",outcome="allowed",reason="store_error"}': 0,
      '{limiter="traffic",outcome="allowed",reason="overloaded"}': 0,
      '{limiter="traffic",outcome="refused",reason="limited"}': 3,
      '{limiter="traffic",outcome="refused",reason="blocked"}': 1,
      '{limiter="traffic",outcome="refused",reason="impossible"}': 1,
    });
    expect(under(series, 'drl_decision_sources_total')).toEqual({
      '{limiter="traffic",source="store"}': 9,
      '{limiter="traffic",source="slice"}': 0,
      '{limiter="traffic",source="deny_cache"}': 0,
      '{limiter="traffic",source="none"}': 1,
    });
    expect(under(series, 'drl_limit_decisions_total')).toEqual({
      '{limit="default",limiter="traffic",outcome="allowed"}': 6,
      '{limit="default",limiter="traffic",outcome="refused"}': 3,
      '{limit="trial",limiter="traffic",outcome="allowed"}': 2,
      '{limit="trial",limiter="traffic",outcome="refused"}': 0,
    });
    expect(under(series, 'drl_shadow_refusals_total')).toEqual({
      '{limit="default",limiter="traffic"}': 0,
      '{limit="trial",limiter="traffic"}': 7,
    });
    expect(under(series, 'drl_near_limit_total')).toEqual({
      '{limit="default",limiter="traffic"}': 2,
      '{limit="trial",limiter="traffic"}': 1,
    });
  });

  test('limits have their unit as a label, and never a part of an identity', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      namespace: 'units',
      limits: [
        tokenBucket({ name: 'rpm', by: ['org', 'user'], rate: 5, period: '1h' }),
        tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', rate: 100, period: '1h' }),
      ],
    }) as unknown as RateLimiter<'org' | 'user', 'tokens'>;
    await limiter.allow({ org: 'acme', user: 'alice' }, { cost: { tokens: 90 } });
    await limiter.allow({ org: 'acme', user: 'bob' }, { cost: { tokens: 11 } });
    await limiter.allow({ org: 'acme', user: 'bob' });
    const series = await scrape(register);
    expect(under(series, 'drl_limit_decisions_total')).toEqual({
      '{limit="rpm",limiter="units",outcome="allowed",unit="calls"}': 3,
      '{limit="rpm",limiter="units",outcome="refused",unit="calls"}': 0,
      '{limit="tpm",limiter="units",outcome="allowed",unit="tokens"}': 1,
      '{limit="tpm",limiter="units",outcome="refused",unit="tokens"}': 1,
    });
    expect(under(series, 'drl_near_limit_total')).toEqual({
      '{limit="rpm",limiter="units",unit="calls"}': 0,
      '{limit="tpm",limiter="units",unit="tokens"}': 1,
    });
    expect([...series.keys()].join()).not.toMatch(/acme|alice|bob/);
  });

  test('leases held are counted', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      namespace: 'leases',
      limits: [concurrency({ max: 5, ttl: '1m' })],
    });
    const leases = await Promise.all(['a', 'a', 'b'].map((identity) => limiter.acquire(identity)));
    const held = '{limit="default",limiter="leases"}';
    expect(under(await scrape(register), 'drl_leases_held')).toEqual({ [held]: 3 });
    await leases[0]!.release();
    expect(under(await scrape(register), 'drl_leases_held')).toEqual({ [held]: 2 });
  });

  test('script calls are counted as the server ran them, each with its size and duration', async () => {
    await redis.command('SCRIPT', 'FLUSH');
    await redis.command('CONFIG', 'RESETSTAT');
    const limiter = limiterOf({ redis: redis.url, namespace: 'calls', rate: 5, period: '1h' });
    const begun = performance.now();
    await limiter.allow('a');
    await Promise.all(['a', 'b', 'c', 'c'].map((identity) => limiter.allow(identity)));
    await limiter.peek('a');

    const { evalsha, eval: evaluated } = await redis.commandStats();
    expect({ evalsha: evalsha!.calls, eval: evaluated!.calls }).toEqual({ evalsha: 3, eval: 1 });
    const series = await scrape(register);
    expect(series.get(onStore('drl_store_calls_total'))).toBe(3);
    expect(series.get(onStore('drl_store_noscript_total'))).toBe(1);
    expect(series.get(onStore('drl_store_entries_total'))).toBe(6);
    // A key that occurs again in a script call counts again.
    expect(series.get(onStore('drl_store_keys_total'))).toBe(6);
    expect(series.get(onStore('drl_store_in_flight'))).toBe(0);
    expect(series.get(onNode('drl_store_up'))).toBe(1);
    expect(series.get(onNode('drl_store_hung'))).toBe(0);

    expect(series.get(onStore('drl_store_call_entries_count'))).toBe(3);
    expect(series.get(onStore('drl_store_call_entries_sum'))).toBe(6);
    const sizes = ['1', '2', '4', '1024', '+Inf'].map((le) =>
      series.get(onStore('drl_store_call_entries_bucket', `le="${le}",`)),
    );
    expect(sizes).toEqual([2, 2, 3, 3, 3]);

    const answered = 'outcome="answered",';
    expect(series.get(onStore('drl_store_call_duration_seconds_count', answered))).toBe(3);
    const seconds = series.get(onStore('drl_store_call_duration_seconds_sum', answered))!;
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan((performance.now() - begun) / 1_000);
    const within = series.get(
      onStore('drl_store_call_duration_seconds_bucket', `le="2.5",${answered}`),
    );
    expect(within).toBe(3);
  });

  test('calls in flight are reported while they last', async () => {
    const limiter = limiterOf({ redis: redis.url, namespace: 'flight', rate: 5, period: '1h' });
    const calls = ['a', 'b'].map((identity) => limiter.allow(identity));
    expect((await scrape(register)).get(onStore('drl_store_in_flight'))).toBe(2);
    await Promise.all(calls);
  });

  test.each([
    ['open', 'allowed'],
    ['closed', 'refused'],
    ['throw', 'rejected'],
  ])(
    'OOM under failStrategy %s is counted as %s while the server is up',
    async (failStrategy, outcome) => {
      const namespace = `oom-${failStrategy}`;
      const limiter = limiterOf({
        redis: redis.url,
        namespace,
        rate: 5,
        period: '1h',
        failStrategy,
      });
      await limiter.ready();
      await redis.command('CONFIG', 'SET', 'maxmemory', '1');
      await limiter.allow('a').catch(() => {});
      await redis.command('CONFIG', 'SET', 'maxmemory', '0');
      const series = await scrape(register);
      const labels = `{limiter="${namespace}",outcome="${outcome}",reason="store_error"}`;
      expect(series.get(`drl_degraded_decisions_total${labels}`)).toBe(1);
      expect(series.get(`drl_decisions_total${labels}`)).toBe(1);
      expect(series.get(onNode('drl_store_up'))).toBe(1);
    },
  );

  test('a suspended server is reported as hung, with timeouts and a late reply, then as up', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      timeoutMs,
      namespace: 'still',
      rate: 50,
      period: '1h',
    });
    await limiter.ready();
    await redis.stop();
    const timedOut = onStore('drl_store_call_duration_seconds_count', 'outcome="store_timeout",');
    let calls = 0;
    let series = await scrape(register);
    // After a pause of this process, the first call sends no script call before the server answers a question.
    await waitUntil('a script call without an answer', async () => {
      await limiter.allow('a');
      calls += 1;
      series = await scrape(register);
      return series.get(timedOut) === 1;
    });
    expect(series.get(onNode('drl_store_up'))).toBe(0);
    expect(series.get(onNode('drl_store_hung'))).toBe(1);
    const timeout = '{limiter="still",outcome="allowed",reason="store_timeout"}';
    expect(series.get(`drl_degraded_decisions_total${timeout}`)).toBe(calls);
    await redis.cont();
    await waitUntil('the late reply', async () => {
      series = await scrape(register);
      return series.get(onStore('drl_store_late_replies_total')) === 1;
    });
    expect(series.get(onNode('drl_store_up'))).toBe(1);
    expect(series.get(onNode('drl_store_hung'))).toBe(0);
    expect(series.get(onStore('drl_store_written_off_total'))).toBe(0);
  });

  test('a script call that is never answered is written off', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      timeoutMs,
      namespace: 'off',
      rate: 5,
      period: '1h',
    });
    await limiter.ready();
    const writtenOff = async () =>
      (await scrape(register)).get(onStore('drl_store_written_off_total'));
    expect(await writtenOff()).toBe(0);
    // After a pause of this process a question comes first, which is no script call: then the server is asked again.
    await waitUntil('the write-off', async () => {
      await redis.stop();
      for (const until = performance.now() + 20 * timeoutMs; performance.now() < until;) {
        await limiter.allow('a');
        if ((await writtenOff()) !== 0) return true;
      }
      await redis.cont();
      await waitUntil('an answer', async () => !(await limiter.allow('a')).degraded);
      return false;
    });
    await redis.cont();
  });

  test('a killed server is reported as down until it is back', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      timeoutMs,
      namespace: 'gone',
      rate: 5,
      period: '1h',
    });
    await limiter.ready();
    await redis.kill();
    await waitUntil('it to be seen', async () => (await limiter.allow('a')).degraded);
    let series = await scrape(register);
    await waitUntil('it to be down', async () => {
      series = await scrape(register);
      return series.get(onNode('drl_store_up')) === 0;
    });
    expect(series.get(onNode('drl_store_hung'))).toBe(0);
    const away = '{limiter="gone",outcome="allowed",reason="store_away"}';
    expect(series.get(`drl_degraded_decisions_total${away}`)).toBeGreaterThan(0);
    await redis.start();
    await waitUntil('it to be back', async () => !(await limiter.allow('a')).degraded);
    series = await scrape(register);
    expect(series.get(onNode('drl_store_up'))).toBe(1);
  });

  test('promtool finds no problem in the metrics', async () => {
    const limiter = limiterOf({
      redis: redis.url,
      namespace: 'promtool',
      limits: [concurrency({ max: 5, ttl: '1m' })],
    });
    await limiter.acquire('a');
    const text = await register.metrics();
    expect(text.match(/^# TYPE drl_/gm)).toHaveLength(21);
    const { status, stdout, stderr } = spawnSync(findPrometheus('promtool'), ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  test('promtool reports a problem in bad metrics', () => {
    const { status, stderr } = spawnSync(findPrometheus('promtool'), ['check', 'metrics'], {
      input: '# HELP drl_decisions of a counter\n# TYPE drl_decisions counter\ndrl_decisions 1\n',
      encoding: 'utf8',
    });
    expect(status).not.toBe(0);
    expect(stderr).toContain('_total');
  });
});

describe('the registry', () => {
  test('exports the OpenMetrics format, and JSON that other workers can sum', async () => {
    const register = new Registry<OpenMetricsContentType>();
    register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    undo.push(prometheusMetrics({ register }));
    const limiter = embedded({ namespace: 'formats', rate: 5, period: '1h' });
    await limiter.allow('a');
    const text = await register.metrics();
    expect(text).toContain('# TYPE drl_decisions counter');
    expect(text).toContain(
      'drl_decisions_total{limiter="formats",outcome="allowed",reason="within_limit"} 1\n',
    );
    expect(text).toContain('# EOF');

    const plain = exported();
    const json = await plain.getMetricsAsJSON();
    const together = await AggregatorRegistry.aggregate([json, json]).metrics();
    expect(
      readExposition(together).get(
        'drl_decisions_total{limiter="formats",outcome="allowed",reason="within_limit"}',
      ),
    ).toBe(2);
  });

  test('works beside other metrics with default labels, and is restored on stop', async () => {
    const register = new Registry();
    register.setDefaultLabels({ app: 'shop' });
    const others = new Counter({ name: 'orders_total', help: 'Orders.', registers: [register] });
    others.inc();
    const stop = prometheusMetrics({ register });
    await embedded({ namespace: 'beside', rate: 5, period: '1h' }).allow('a');
    expect([...(await scrape(register)).keys()]).toContain(
      'drl_near_limit_total{app="shop",limit="default",limiter="beside"}',
    );
    stop();
    expect([...(await scrape(register)).keys()]).toEqual(['orders_total{app="shop"}']);
  });

  test('refuses a second registration and keeps the first intact', async () => {
    const register = exported();
    const before = await register.metrics();
    expect(() => prometheusMetrics({ register })).toThrow('already been registered');
    expect(await register.metrics()).toBe(before);
  });

  test('exports the limiters that were passed, or all, including later ones', async () => {
    const [one, two] = ['one', 'two'].map((namespace) =>
      embedded({ namespace, rate: 5, period: '1h' }),
    );
    const [all, some] = [exported(), exported({ limiters: [one!] })];
    const three = embedded({ namespace: 'three', rate: 5, period: '1h' });
    await Promise.all([one, two, three].map((limiter) => limiter!.allow('a')));
    const limitersOf = async (register: Registry) =>
      Object.keys(under(await scrape(register), 'drl_near_limit_total')).map(
        (labels) => /limiter="(\w+)"/.exec(labels)![1],
      );
    expect(await limitersOf(some)).toEqual(['one']);
    expect(await limitersOf(all)).toEqual(['one', 'two', 'three']);
    await two!.close();
    expect(await limitersOf(all)).toEqual(['one', 'three']);
  });

  test.each([
    ['a missing registry', {}, /`register` must be a registry of prom-client, got undefined/],
    ['an invalid registry', { register: {} }, /`register` must be a registry of prom-client/],
    ['an unknown option', { registry: new Registry() }, /Did you mean `register`\?/],
    [
      'limiters that are not an array',
      { register: new Registry(), limiters: {} },
      /`limiters` must be an array/,
    ],
    [
      'a number as limiter',
      { register: new Registry(), limiters: [1] },
      /`limiters` must be an array/,
    ],
  ])('refuses %s', (_, options, message) => {
    expect(() => prometheusMetrics(options as never)).toThrow(message);
  });
});

test('100,000 identities add no series and appear in none', async () => {
  const register = exported();
  const limiter = embedded({ namespace: 'many', rate: 2, period: '1h' });
  await limiter.allow('canary-first');
  const before = [...(await scrape(register)).keys()];
  for (let i = 0; i < 100_000; i++) await limiter.allow(`canary-${i}`, { cost: (i % 3) + 1 });
  const text = await register.metrics();
  expect([...readExposition(text).keys()]).toEqual(before);
  expect(text).not.toContain('canary');
  expect(limiter.stats().decisions.allowed.within_limit).toBe(66_668);
});
