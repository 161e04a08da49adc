// @ts-check
import { channel, tracingChannel } from 'node:diagnostics_channel';
import { serve } from './child.mjs';
import { inTurn, makeIdentities } from './identities.mjs';
import { runLoad } from './load.mjs';

/** @type {{ limiter: import('../dist/index.js').RateLimiter, perTurn: () => unknown } | undefined} */
let opened;
const listen = () => {};
/** @type {<T>(call: () => T) => T} */
let inSpan = (call) => call();
const next = inTurn(makeIdentities(100_000));
/** @param {{ allowed: boolean }} decision */
const isAllowed = ({ allowed }) => allowed;

serve(async ({ kind, url, observer, inFlight, ms }) => {
  if (kind === 'open') return open(url, observer);
  if (opened === undefined) throw new Error('not opened');
  const { limiter, perTurn } = opened;
  const { refused, nodeUs } = await runLoad(
    (identity) => inSpan(() => limiter.allow(identity).then(isAllowed)),
    next,
    { inFlight, ms },
  );
  if (refused > 0) throw new Error('a call was refused');
  await perTurn();
  return nodeUs;
});

/**
 * @param {string} url of a build
 * @param {string} observer
 */
async function open(url, observer) {
  const { RateLimiter } = await import(`${url}/index.js`);
  opened = {
    limiter: new RateLimiter({
      redis: answering(),
      namespace: 'bench',
      failStrategy: 'throw',
      rate: 10,
      period: 1,
      burst: 1_000_000_000,
    }),
    perTurn: await observe(url, observer),
  };
}

/**
 * @param {string} url
 * @param {string} observer
 * @returns {Promise<() => unknown>} what is done once per turn
 */
async function observe(url, observer) {
  if (observer === 'channels, subscribed') {
    const listeners = {
      start: listen,
      end: listen,
      asyncStart: listen,
      asyncEnd: listen,
      error: listen,
    };
    for (const name of ['check', 'store-call']) {
      tracingChannel(`distributed-rate-limiter:${name}`).subscribe(listeners);
    }
    for (const name of ['store', 'store-submit']) {
      channel(`distributed-rate-limiter:${name}`).subscribe(listen);
    }
  } else if (observer === 'Prometheus') {
    const { Registry } = await import('prom-client');
    const { prometheusMetrics } = await import(`${url}/telemetry/prometheus.js`);
    const register = new Registry();
    prometheusMetrics({ register });
    return () => register.metrics();
  } else if (observer === 'OpenTelemetry metrics') {
    const { MeterProvider, MetricReader } = await import('@opentelemetry/sdk-metrics');
    const { openTelemetryMetrics } = await import(`${url}/telemetry/opentelemetry.js`);
    class Reader extends MetricReader {
      async onForceFlush() {}
      async onShutdown() {}
    }
    const reader = new Reader();
    openTelemetryMetrics({ meterProvider: new MeterProvider({ readers: [reader] }) });
    return () => reader.collect();
  } else if (observer === 'OpenTelemetry spans' || observer === 'callers in spans') {
    const { BasicTracerProvider } = await import('@opentelemetry/sdk-trace-base');
    const { AsyncLocalStorageContextManager } = await import('@opentelemetry/context-async-hooks');
    const { context, trace } = await import('@opentelemetry/api');
    const { openTelemetrySpans } = await import(`${url}/telemetry/opentelemetry.js`);
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const tracerProvider = new BasicTracerProvider();
    if (observer === 'OpenTelemetry spans') openTelemetrySpans({ tracerProvider });
    // Every caller is in one of many spans, as in a server that is traced. Making those is not in the figure.
    const spans = Array.from({ length: 256 }, () =>
      tracerProvider.getTracer('bench').startSpan('request'),
    );
    let turn = 0;
    inSpan = (call) =>
      context.with(trace.setSpan(context.active(), /** @type {any} */ (spans[turn++ % 256])), call);
  }
  return () => {};
}

/** A Redis that lets everything pass, and answers in the next turn of the event loop. */
function answering() {
  return {
    state: /** @type {const} */ ('ready'),
    onStateChange() {},
    isReply: () => true,
    /**
     * @param {string} _command
     * @param {readonly string[]} args
     */
    send: (_command, args) =>
      new Promise((resolve) => {
        const calls = Number(args[1]) * Number(args.at(-1)?.split(' ').pop());
        const reply = [Date.now() * 1_000];
        for (let i = 0; i < calls; i++) reply.push(600_000_000 + i);
        setImmediate(resolve, reply);
      }),
  };
}
