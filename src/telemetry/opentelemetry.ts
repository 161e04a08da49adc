import {
  context,
  metrics,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from '@opentelemetry/api';
import type {
  Attributes,
  BatchObservableCallback,
  Link,
  MeterProvider,
  Observable,
  Span,
  SpanContext,
  TracerProvider,
} from '@opentelemetry/api';
import { invalidOption } from '../base/errors.ts';
import { storeCalls, storeSubmits } from '../observe/channels.ts';
import type { StoreCallMessage, StoreSubmission } from '../observe/messages.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { BATCH_SIZE, DURATION, METRICS, makeReader, readLimiters } from './metrics.ts';
import type { Counted } from './metrics.ts';

const SCOPE = 'distributed-rate-limiter';
const PREFIX = 'distributed_rate_limiter';
/** The number of links per span that an SDK keeps by default. */
const MAX_LINKS = 128;

const METRICS_OPTIONS: OptionSet = {
  of: 'openTelemetryMetrics',
  names: ['meterProvider', 'limiters'],
};
const SPANS_OPTIONS: OptionSet = { of: 'openTelemetrySpans', names: ['tracerProvider'] };

const CALLER = Symbol('caller');

/** The facts kept of a call until its script call begins. */
interface WithCaller extends StoreSubmission {
  [CALLER]?: SpanContext | undefined;
}

/** The limiters to export, and the destination. */
export interface OpenTelemetryMetricsOptions {
  /** Default: the global one, which has to be set before. */
  meterProvider?: MeterProvider;
  /** The limiters whose decisions are exported. Default: all limiters of this process, including later ones. */
  limiters?: readonly Counted[];
}

/** The destination of spans. */
export interface OpenTelemetrySpansOptions {
  /** Default: the global one. */
  tracerProvider?: TracerProvider;
}

/**
 * Exports limiters' counts, and the duration of their script calls, as OpenTelemetry metrics. Values are read at
 * collection, so a decision costs nothing more. Returns a function that ends it.
 *
 * There is no semantic convention for rate limiting. The names follow ASP.NET Core's
 * `aspnetcore.rate_limiting.requests` and `.active_request_leases`, under this library's own prefix.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`.
 * @example
 * sdk.start();
 * openTelemetryMetrics();
 */
export function openTelemetryMetrics(options: OpenTelemetryMetricsOptions = {}): () => void {
  const given = new GivenOptions(METRICS_OPTIONS, options);
  const provider = given.optional(
    'meterProvider',
    providerWith('getMeter'),
    metrics,
  ) as MeterProvider;
  const limiters = given.optional('limiters', readLimiters, undefined);
  given.end();
  const read = makeReader(limiters);
  const meter = provider.getMeter(SCOPE);

  const instruments = METRICS.map((metric) => {
    const { openTelemetry: name, help: description, kind, unit } = metric;
    const described = { description, unit };
    const instrument: Observable =
      kind === 'counter'
        ? meter.createObservableCounter(name, described)
        : unit === '1'
          ? meter.createObservableGauge(name, described)
          : meter.createObservableUpDownCounter(name, described);
    return { metric, instrument };
  });
  const observables = instruments.map(({ instrument }) => instrument);
  const observe: BatchObservableCallback = (result) => {
    const readings = read();
    for (const { metric, instrument } of instruments) {
      for (const { labels, value } of metric.samples(readings)) {
        result.observe(instrument, value, attributesOf(labels));
      }
    }
  };
  meter.addBatchObservableCallback(observe, observables);

  const [durations, sizes] = [DURATION, BATCH_SIZE].map(
    ({ openTelemetry: name, help: description, unit, buckets }) =>
      meter.createHistogram(name, {
        description,
        unit,
        advice: { explicitBucketBoundaries: [...buckets] },
      }),
  );
  const onEnd = (message: unknown): void => {
    const { store, outcome, durationMs, entries } = message as StoreCallMessage;
    const attributes = attributesOf({ store });
    const failed = outcome === 'answered' ? {} : { 'error.type': outcome };
    durations?.record((durationMs ?? 0) / 1_000, { ...attributes, ...failed });
    sizes?.record(entries, attributes);
  };
  storeCalls.asyncEnd.subscribe(onEnd);
  return () => {
    storeCalls.asyncEnd.unsubscribe(onEnd);
    meter.removeBatchObservableCallback(observe, observables);
  };
}

/**
 * Makes one span for each script call, however many decisions it carries, with a link to the span of each sampled
 * caller. If all callers are in one span, it is the parent as well. If no caller is sampled, there is no span.
 * Returns a function that ends it.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`.
 * @example
 * openTelemetrySpans();
 */
export function openTelemetrySpans(options: OpenTelemetrySpansOptions = {}): () => void {
  const given = new GivenOptions(SPANS_OPTIONS, options);
  const provider = given.optional(
    'tracerProvider',
    providerWith('getTracer'),
    trace,
  ) as TracerProvider;
  given.end();
  const tracer = provider.getTracer(SCOPE);
  const spans = new WeakMap<StoreCallMessage, Span>();

  const onStart = (message: unknown): void => {
    const { store, node, entries, keys, submissions, command } = message as StoreCallMessage;
    const known = submissions.flatMap((submission) => (submission as WithCaller)[CALLER] ?? []);
    const links = linksTo(known);
    if (known.length > 0 && links.length === 0) {
      return;
    }
    const parent =
      links.length === 1 ? trace.setSpanContext(ROOT_CONTEXT, links[0]!.context) : ROOT_CONTEXT;
    const attributes: Attributes = {
      'db.system.name': 'redis',
      'db.operation.name': command,
      'db.operation.batch.size': entries,
      [`${PREFIX}.keys`]: keys,
      ...attributesOf({ store, ...(node === '' ? {} : { node }) }),
    };
    const settings = { kind: SpanKind.CLIENT, links, attributes };
    spans.set(
      message as StoreCallMessage,
      tracer.startSpan(`${PREFIX}.store_call`, settings, parent),
    );
  };
  const onEnd = (message: unknown): void => {
    const { outcome, command } = message as StoreCallMessage;
    const span = spans.get(message as StoreCallMessage);
    span?.setAttribute('db.operation.name', command);
    if (outcome !== undefined && outcome !== 'answered') {
      span?.setAttribute('error.type', outcome);
      span?.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
    }
    span?.end();
  };
  storeSubmits.subscribe(onSubmit);
  storeCalls.start.subscribe(onStart);
  storeCalls.asyncEnd.subscribe(onEnd);
  return () => {
    storeSubmits.unsubscribe(onSubmit);
    storeCalls.start.unsubscribe(onStart);
    storeCalls.asyncEnd.unsubscribe(onEnd);
  };
}

/** Runs in the caller's own context. */
function onSubmit(message: unknown): void {
  (message as WithCaller)[CALLER] = trace.getSpanContext(context.active());
}

/** Makes one link for each sampled span, however many calls it made. */
function linksTo(callers: readonly SpanContext[]): Link[] {
  // Each span has exactly one context object.
  const distinct = new Set<SpanContext>();
  for (const caller of callers) {
    if ((caller.traceFlags & TraceFlags.SAMPLED) !== 0 && distinct.size < MAX_LINKS) {
      distinct.add(caller);
    }
  }
  return [...distinct].map((caller) => ({ context: caller }));
}

function attributesOf(labels: Readonly<Record<string, string>>): Attributes {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [`${PREFIX}.${name}`, value]),
  );
}

function providerWith(method: string): (option: string, value: unknown) => unknown {
  return (option, value) => {
    if (typeof (value as Record<string, unknown> | null)?.[method] !== 'function') {
      throw invalidOption(
        option,
        `an object with ${method}()`,
        value,
        'Pass a provider of the SDK.',
      );
    }
    return value;
  };
}
