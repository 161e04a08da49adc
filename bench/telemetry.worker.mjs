// @ts-check
import { subscribe, tracingChannel } from 'node:diagnostics_channel';
import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { Registry } from 'prom-client';
import { answering } from './answering.mjs';
import { serve } from './child.mjs';
import { inTurn, makeIdentities } from './identities.mjs';
import { runLoad } from './load.mjs';

const IDENTITIES = 100_000;
const SCRAPE_EVERY_MS = 1_000;
/** Callers, each with its own span, as the requests of a server have. */
const CALLERS = 256;

/** @typedef {import('../dist/index.js').RateLimiter} RateLimiter */
/** @typedef {(identity: string) => Promise<boolean>} Decide */
/** @typedef {{ decide: Decide, scrape?: () => Promise<unknown> }} Subject */

/** @type {Subject} */
let subject;
const next = inTurn(makeIdentities(IDENTITIES));

serve(async (request) => {
  if (request.kind === 'open') {
    subject = await open(request);
    return undefined;
  }
  const { scrape } = subject;
  // Scrapes within the turn, so that each turn bears its share: half a second after its start, then once per second.
  /** @type {Promise<unknown>[]} */
  const scrapes = [];
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const scrapeAgain = () => {
    if (scrape !== undefined) scrapes.push(scrape());
    timer = setTimeout(scrapeAgain, SCRAPE_EVERY_MS);
  };
  timer = setTimeout(scrapeAgain, Math.min(request.ms, SCRAPE_EVERY_MS) / 2);
  const { refused, nodeUs } = await runLoad(subject.decide, next, request);
  clearTimeout(timer);
  await Promise.all(scrapes);
  if (refused > 0) throw new Error('a call was refused');
  return nodeUs;
});

/**
 * @param {{ mode: string, url: string, redis?: string }} order
 * @returns {Promise<Subject>}
 */
async function open({ mode, url, redis }) {
  /** @type {typeof import('../dist/index.js')} */
  const { RateLimiter } = await import(`${url}/index.js`);
  const limiter = new RateLimiter(
    /** @type {any} */ ({
      redis: redis ?? answering(),
      namespace: 'bench',
      failStrategy: 'throw',
      rate: 10,
      period: 1,
      burst: 1_000_000_000,
    }),
  );
  await limiter.ready();
  /** @type {Decide} */
  const decide = (identity) => limiter.allow(identity).then(isAllowed);

  switch (mode) {
    case 'nothing on':
      return { decide };
    case 'channels subscribed':
      subscribeAll();
      return { decide };
    case 'Prometheus': {
      /** @type {typeof import('../dist/telemetry/prometheus.js')} */
      const { prometheusMetrics } = await import(`${url}/telemetry/prometheus.js`);
      const register = new Registry();
      prometheusMetrics({ register });
      return { decide, scrape: () => register.metrics() };
    }
    case 'OpenTelemetry metrics': {
      const { openTelemetryMetrics } = await openTelemetryOf(url);
      const reader = new OnDemand();
      openTelemetryMetrics({ meterProvider: new MeterProvider({ readers: [reader] }) });
      return { decide, scrape: () => reader.collect() };
    }
    case 'callers in spans':
      return { decide: inSpans(decide, tracers()) };
    case 'OpenTelemetry spans': {
      const { openTelemetrySpans } = await openTelemetryOf(url);
      const tracerProvider = tracers();
      openTelemetrySpans({ tracerProvider });
      return { decide: inSpans(decide, tracerProvider) };
    }
    default:
      throw new Error(`no mode is called ${mode}`);
  }
}

/** @param {{ allowed: boolean }} decision */
const isAllowed = ({ allowed }) => allowed;

/**
 * @param {string} url
 * @returns {Promise<typeof import('../dist/telemetry/opentelemetry.js')>}
 */
function openTelemetryOf(url) {
  return import(`${url}/telemetry/opentelemetry.js`);
}

const nothing = () => {};

/** Subscribes to every channel, with functions that do nothing. */
function subscribeAll() {
  const all = {
    start: nothing,
    end: nothing,
    asyncStart: nothing,
    asyncEnd: nothing,
    error: nothing,
  };
  tracingChannel('distributed-rate-limiter:check').subscribe(all);
  tracingChannel('distributed-rate-limiter:store-call').subscribe(all);
  subscribe('distributed-rate-limiter:store-submit', nothing);
  subscribe('distributed-rate-limiter:store', nothing);
}

class OnDemand extends MetricReader {
  /** @override */
  async onForceFlush() {}
  /** @override */
  async onShutdown() {}
}

/** Spans are made and batched; the exporter drops them. */
function tracers() {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  /** @type {any} */
  const exporter = {
    export: (/** @type {unknown} */ _spans, /** @type {(result: object) => void} */ done) =>
      done({ code: 0 }),
    shutdown: async () => {},
  };
  return new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
}

/**
 * @param {Decide} decide
 * @param {BasicTracerProvider} provider
 * @returns {Decide}
 */
function inSpans(decide, provider) {
  const tracer = provider.getTracer('bench');
  const callers = Array.from({ length: CALLERS }, () =>
    trace.setSpan(ROOT_CONTEXT, tracer.startSpan('request')),
  );
  let turn = 0;
  return (identity) => {
    turn = (turn + 1) % CALLERS;
    return context.with(callers[turn] ?? ROOT_CONTEXT, decide, undefined, identity);
  };
}
