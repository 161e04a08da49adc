import { context, metrics, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Span } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { DataPoint, Histogram } from '@opentelemetry/sdk-metrics';
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
  AlwaysOnSampler,
} from '@opentelemetry/sdk-trace-base';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import type { RateLimiterOptions } from 'distributed-rate-limiter';
import { openTelemetryMetrics, openTelemetrySpans } from 'distributed-rate-limiter/opentelemetry';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';
import { collectWarnings } from '../../kit/fakes/warnings.ts';

let redis: RedisServer;
let store = '';
collectWarnings();
beforeAll(async () => {
  redis = await startRedis();
  store = `127.0.0.1:${redis.port}`;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
afterAll(async () => {
  context.disable();
  await redis.close();
});

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0)) await each();
});

function limiterOf(options: object): RateLimiter {
  const limiter = new RateLimiter({
    redis: redis.url,
    timeoutMs: 10_000,
    ...options,
  } as RateLimiterOptions);
  undo.push(() => limiter.close());
  return limiter;
}

describe('OpenTelemetry metrics', () => {
  function meter() {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: 2 ** 30,
      exportTimeoutMillis: 2 ** 29,
    });
    const meterProvider = new MeterProvider({ readers: [reader] });
    undo.push(() => meterProvider.shutdown());
    const collect = async () => {
      exporter.reset();
      await reader.forceFlush();
      return exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics)
        .flatMap(({ metrics: collected }) => collected);
    };
    return { meterProvider, collect };
  }

  type Collected = Awaited<ReturnType<ReturnType<typeof meter>['collect']>>;

  /** A metric's points: attributes without the prefix, and values. */
  function pointsOf(collected: Collected, name: string): [Record<string, unknown>, unknown][] {
    const metric = collected.find(
      ({ descriptor }) => descriptor.name === `distributed_rate_limiter.${name}`,
    );
    return (metric?.dataPoints ?? []).map(({ attributes, value }: DataPoint<unknown>) => [
      Object.fromEntries(
        Object.entries(attributes).map(([key, each]) => [
          key.replace(/^distributed_rate_limiter\./, ''),
          each,
        ]),
      ),
      value,
    ]);
  }

  test('report the counts of limiters and connections at collection time', async () => {
    const { meterProvider, collect } = meter();
    undo.push(openTelemetryMetrics({ meterProvider }));
    await redis.command('SCRIPT', 'FLUSH');
    const limiter = limiterOf({
      namespace: 'api',
      blocks: true,
      limits: [
        tokenBucket({ rate: 3, period: '1h' }),
        tokenBucket({ name: 'trial', rate: 1, period: '1h', shadow: true }),
        concurrency({ name: 'places', max: 10, ttl: '1m' }),
      ],
    });
    const begun = performance.now();
    for (let i = 0; i < 4; i++) await limiter.acquire('alice');
    await limiter.acquire('bob', { cost: 4 });
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await limiter.acquire('dave');
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');

    const collected = await collect();
    const limits = (outcome: string, ...counts: number[]) =>
      ['default', 'trial', 'places'].map((limit, i) => [
        { limiter: 'api', limit, ...(outcome === '' ? {} : { outcome }) },
        counts[i],
      ]);
    expect(pointsOf(collected, 'requests').filter(([, value]) => value !== 0)).toEqual([
      [{ limiter: 'api', outcome: 'allowed', reason: 'within_limit' }, 3],
      [{ limiter: 'api', outcome: 'allowed', reason: 'store_error' }, 1],
      [{ limiter: 'api', outcome: 'refused', reason: 'limited' }, 1],
      [{ limiter: 'api', outcome: 'refused', reason: 'impossible' }, 1],
    ]);
    expect(pointsOf(collected, 'degraded_requests')).toEqual([
      [{ limiter: 'api', outcome: 'allowed', reason: 'store_timeout' }, 0],
      [{ limiter: 'api', outcome: 'allowed', reason: 'store_away' }, 0],
      [{ limiter: 'api', outcome: 'allowed', reason: 'store_error' }, 1],
      [{ limiter: 'api', outcome: 'allowed', reason: 'overloaded' }, 0],
    ]);
    expect(pointsOf(collected, 'limit.requests')).toEqual(
      expect.arrayContaining([...limits('allowed', 3, 1, 4), ...limits('refused', 1, 0, 0)]),
    );
    expect(pointsOf(collected, 'limit.shadow_refusals')).toEqual(limits('', 0, 3, 0));
    expect(pointsOf(collected, 'limit.near_limit')).toEqual(limits('', 1, 1, 0));
    expect(pointsOf(collected, 'active_request_leases')).toEqual([
      [{ limiter: 'api', limit: 'places' }, 3],
    ]);
    expect(pointsOf(collected, 'store.up')).toEqual([[{ store, node: '' }, 1]]);
    expect(pointsOf(collected, 'store.hung')).toEqual([[{ store, node: '' }, 0]]);
    expect(pointsOf(collected, 'store.in_flight')).toEqual([[{ store }, 0]]);
    expect(pointsOf(collected, 'store.calls')).toEqual([[{ store }, 5]]);
    expect(pointsOf(collected, 'store.entries')).toEqual([[{ store }, 5]]);
    expect(pointsOf(collected, 'store.keys')).toEqual([[{ store }, 15]]);
    expect(pointsOf(collected, 'store.noscript')).toEqual([[{ store }, 1]]);
    expect(pointsOf(collected, 'store.late_replies')).toEqual([[{ store }, 0]]);
    expect(pointsOf(collected, 'store.written_off')).toEqual([[{ store }, 0]]);
    const [[place, entries]] = pointsOf(collected, 'store.call.entries') as [[object, Histogram]];
    expect(place).toEqual({ store });
    expect(entries).toMatchObject({ count: 5, sum: 5, min: 1, max: 1 });
    const [[answered, seconds]] = pointsOf(collected, 'store.call.duration') as [
      [object, Histogram],
    ];
    expect(answered).toEqual({ store });
    expect(seconds.count).toBe(5);
    expect(seconds.buckets.boundaries[0]).toBe(0.0001);
    expect(seconds.sum, 'in seconds').toBeLessThan((performance.now() - begun) / 1_000);
    expect(JSON.stringify(collected)).not.toMatch(/alice|bob|dave/);
  });

  test('have the unit of a limit as an attribute, and no part of an identity', async () => {
    const { meterProvider, collect } = meter();
    undo.push(openTelemetryMetrics({ meterProvider }));
    const limiter = limiterOf({
      namespace: 'units',
      limits: [
        tokenBucket({ name: 'rpm', by: ['org', 'user'], rate: 5, period: '1h' }),
        tokenBucket({ name: 'tpm', by: 'org', unit: 'tokens', rate: 100, period: '1h' }),
      ],
    }) as unknown as RateLimiter<'org' | 'user', 'tokens'>;
    await limiter.allow({ org: 'acme', user: 'alice' }, { cost: { tokens: 90 } });
    await limiter.allow({ org: 'acme', user: 'bob' });
    const collected = await collect();
    const decided = pointsOf(collected, 'limit.requests').filter(([, value]) => value !== 0);
    expect(decided).toEqual([
      [{ limiter: 'units', limit: 'rpm', unit: 'calls', outcome: 'allowed' }, 2],
      [{ limiter: 'units', limit: 'tpm', unit: 'tokens', outcome: 'allowed' }, 1],
    ]);
    expect(JSON.stringify(collected)).not.toMatch(/acme|alice|bob/);
  });

  test('report faults of the store', async () => {
    const { meterProvider, collect } = meter();
    undo.push(openTelemetryMetrics({ meterProvider }));
    const limiter = limiterOf({ timeoutMs: 150, namespace: 'faults', rate: 5, period: '1h' });
    await limiter.ready();
    await redis.stop();
    await limiter.allow('a');
    let collected = await collect();
    expect(pointsOf(collected, 'store.up')).toEqual([[{ store, node: '' }, 0]]);
    expect(pointsOf(collected, 'store.hung')).toEqual([[{ store, node: '' }, 1]]);
    expect(pointsOf(collected, 'store.call.duration').map(([attributes]) => attributes)).toEqual([
      { store },
      { store, 'error.type': 'store_timeout' },
    ]);
    await redis.cont();
    await waitUntil('the late reply', async () => {
      collected = await collect();
      return pointsOf(collected, 'store.late_replies')[0]?.[1] === 1;
    });
    expect(pointsOf(collected, 'store.up')).toEqual([[{ store, node: '' }, 1]]);
  });

  test('end when they are stopped, and use the global provider by default', async () => {
    const { meterProvider, collect } = meter();
    metrics.setGlobalMeterProvider(meterProvider);
    undo.push(() => metrics.disable());
    const stop = openTelemetryMetrics();
    const limiter = limiterOf({ namespace: 'global', rate: 5, period: '1h' });
    await limiter.allow('a');
    expect(pointsOf(await collect(), 'store.calls')).toEqual([[{ store }, 1]]);
    stop();
    await limiter.allow('a');
    // The SDK keeps reporting the last value.
    expect(pointsOf(await collect(), 'store.calls')).toEqual([[{ store }, 1]]);
  });

  test('have as many series for 10,000 identities as for one', async () => {
    const { meterProvider, collect } = meter();
    const limiter = limiterOf({
      redis: undefined,
      timeoutMs: undefined,
      store: new MemoryStore(),
      namespace: 'many',
      rate: 2,
      period: '1h',
    });
    undo.push(openTelemetryMetrics({ meterProvider, limiters: [limiter] }));
    const points = async () =>
      (await collect()).reduce((sum, { dataPoints }) => sum + dataPoints.length, 0);
    await limiter.allow('canary');
    const before = await points();
    for (let i = 0; i < 10_000; i++) await limiter.allow(`canary-${i}`);
    expect(await points()).toBe(before);
    expect(JSON.stringify(await collect())).not.toContain('canary');
  });
});

describe('OpenTelemetry spans', () => {
  let exporter: InMemorySpanExporter;
  let provider: BasicTracerProvider;

  function start(sampler = new ParentBasedSampler({ root: new AlwaysOnSampler() })): void {
    exporter = new InMemorySpanExporter();
    provider = new BasicTracerProvider({
      sampler,
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    });
    undo.push(openTelemetrySpans({ tracerProvider: provider }), () => provider.shutdown());
  }
  beforeEach(() => start());

  const callsSent = (): ReadableSpan[] => exporter.getFinishedSpans();
  const idsOf = (spans: readonly Span[]) => spans.map((span) => span.spanContext().spanId);

  /**
   * Runs each of the callers in its own span, all in one turn. Resolves with the spans and with the span active after
   * each call.
   */
  async function inSpans(callers: readonly (() => Promise<unknown>)[]) {
    const tracer = provider.getTracer('test');
    const spans = callers.map((_, i) => tracer.startSpan(`request ${i}`));
    const active = await Promise.all(
      callers.map((caller, i) =>
        context.with(trace.setSpan(context.active(), spans[i]!), async () => {
          await caller();
          return trace.getActiveSpan();
        }),
      ),
    );
    return { spans, active };
  }

  test("one span per script call links to every caller and keeps each caller's context", async () => {
    const limiter = limiterOf({ namespace: 'spans', rate: 50, period: '1h' });
    await limiter.ready();
    exporter.reset();
    const { spans, active } = await inSpans(
      ['a', 'b', 'c', 'd'].map((identity) => async () => {
        await limiter.allow(identity);
      }),
    );
    expect(active).toEqual(spans);
    const [span, ...more] = callsSent();
    expect(more).toEqual([]);
    expect(span).toMatchObject({
      name: 'distributed_rate_limiter.store_call',
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'redis',
        'db.operation.name': 'EVALSHA',
        'db.operation.batch.size': 4,
        'distributed_rate_limiter.keys': 4,
        'distributed_rate_limiter.store': store,
      },
      status: { code: SpanStatusCode.UNSET },
    });
    expect(span!.parentSpanContext).toBeUndefined();
    expect(span!.links.map((link) => link.context.spanId)).toEqual(idsOf(spans));
  });

  test('the span of calls from one parent span is a child of it', async () => {
    const limiter = limiterOf({ namespace: 'spans', rate: 50, period: '1h' });
    await limiter.ready();
    exporter.reset();
    const { spans } = await inSpans([
      () => Promise.all([limiter.allow('a'), limiter.peek('b'), limiter.reset('c')]),
    ]);
    const [span, ...more] = callsSent();
    expect(more).toEqual([]);
    expect(span!.links.map((link) => link.context.spanId)).toEqual(idsOf(spans));
    expect(span!.parentSpanContext?.spanId).toBe(idsOf(spans)[0]);
    expect(span!.spanContext().traceId).toBe(spans[0]!.spanContext().traceId);
    expect(span!.attributes['db.operation.batch.size']).toBe(3);
  });

  test('a call outside any span makes a span without a parent', async () => {
    await limiterOf({ namespace: 'spans', rate: 50, period: '1h' }).allow('a');
    expect(callsSent()).toMatchObject([{ links: [], parentSpanContext: undefined }]);
  });

  test('callers that are not sampled get no span and no link', async () => {
    const unsampled = new BasicTracerProvider({ sampler: new AlwaysOffSampler() });
    const limiter = limiterOf({ namespace: 'spans', rate: 50, period: '1h' });
    await limiter.ready();
    exporter.reset();
    const off = unsampled.getTracer('test').startSpan('request');
    const allow = (span: Span) =>
      context.with(trace.setSpan(context.active(), span), () => limiter.allow('a'));
    await allow(off);
    expect(callsSent()).toEqual([]);
    const on = provider.getTracer('test').startSpan('request');
    await Promise.all([allow(off), allow(on)]);
    expect(callsSent()[0]!.links.map((link) => link.context.spanId)).toEqual(idsOf([on]));
  });

  test('a call after SCRIPT FLUSH makes one span, of EVAL', async () => {
    const limiter = limiterOf({ namespace: 'spans', rate: 50, period: '1h' });
    await limiter.ready();
    exporter.reset();
    await redis.command('SCRIPT', 'FLUSH');
    await limiter.allow('a');
    expect(callsSent().map(({ attributes }) => attributes['db.operation.name'])).toEqual(['EVAL']);
  });

  test('a missed deadline ends the span as an error, which names no identity', async () => {
    const limiter = limiterOf({ timeoutMs: 150, namespace: 'spans', rate: 50, period: '1h' });
    await limiter.ready();
    exporter.reset();
    await redis.stop();
    await inSpans([() => limiter.allow('canary')]);
    await redis.cont();
    const [span] = callsSent();
    expect(span).toMatchObject({
      status: { code: SpanStatusCode.ERROR, message: 'store_timeout' },
      attributes: { 'error.type': 'store_timeout' },
    });
    const { name, attributes, events, links, status } = span!;
    expect(JSON.stringify({ name, attributes, events, links, status })).not.toContain('canary');
  });

  test('stopping ends the creation of spans', async () => {
    const limiter = limiterOf({ namespace: 'spans', rate: 50, period: '1h' });
    for (const each of undo.splice(0, 1)) each();
    await limiter.allow('a');
    expect(callsSent()).toEqual([]);
  });
});

test.each([
  [
    'an invalid meter provider',
    () => openTelemetryMetrics({ meterProvider: {} as never }),
    /`meterProvider` must be an object with getMeter\(\)/,
  ],
  [
    'an invalid tracer provider',
    () => openTelemetrySpans({ tracerProvider: 1 as never }),
    /`tracerProvider` must be an object with getTracer\(\)/,
  ],
  [
    'a meter provider for spans',
    () => openTelemetrySpans({ meterProvider: metrics } as never),
    /`meterProvider` is not an option of openTelemetrySpans/,
  ],
  [
    'invalid limiters',
    () => openTelemetryMetrics({ limiters: [{}] as never }),
    /`limiters` must be an array of RateLimiters/,
  ],
])('refuses %s', (_, make, message) => {
  expect(make).toThrow(message);
});
