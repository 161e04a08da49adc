import { invalidOption } from '../base/errors.ts';
import { storeCalls } from '../observe/channels.ts';
import type { StoreCallMessage } from '../observe/messages.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { Histogram } from './histogram.ts';
import { BATCH_SIZE, DURATION, METRICS, makeReader, readLimiters } from './metrics.ts';
import type { Counted, Metric, Readings } from './metrics.ts';

/** A registry of prom-client (13 or newer), recognized by its shape. */
export interface PrometheusRegistry {
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

/** The limiters to export, and the destination. */
export interface PrometheusOptions {
  /** prom-client's own `register`, or your own `Registry`. */
  register: PrometheusRegistry;
  /** The limiters whose decisions are exported. Default: all limiters of this process, including later ones. */
  limiters?: readonly Counted[];
}

const OPTIONS: OptionSet = {
  of: 'prometheusMetrics',
  names: ['register', 'limiters'],
  otherNames: { registry: 'register', registers: 'register' },
};

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

interface Collected {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregator: 'sum' | 'min';
  readonly values: readonly Value[];
}

/**
 * Exports limiters' counts, and the duration of their script calls, into a registry of prom-client. Values are read
 * at each scrape, so a decision costs nothing more. Returns a function that removes all of it from the registry.
 *
 * Labels are bounded: `limiter` is the namespace, `limit` the limit's name, `store` the connection's address. Each
 * has at most 100 values, and `other`. None contains an identity.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`.
 * @throws {Error} from prom-client, if the registry already holds metrics of these names.
 * @example
 * import { register } from 'prom-client';
 * prometheusMetrics({ register });
 * app.get('/metrics', async (_, response) => response.type(register.contentType).send(await register.metrics()));
 */
export function prometheusMetrics(options: PrometheusOptions): () => void {
  const given = new GivenOptions(OPTIONS, options);
  const into = given.required('register', readRegister);
  const limiters = given.optional('limiters', readLimiters, undefined);
  given.end();
  const read = makeReader(limiters);
  const durations = new CollectedHistogram(DURATION, ['store', 'outcome']);
  const sizes = new CollectedHistogram(BATCH_SIZE, ['store']);
  const collectors = [...METRICS.map((metric) => new Reading(metric, read)), durations, sizes];

  const registered: string[] = [];
  try {
    for (const collector of collectors) {
      into.registerMetric(collector as never);
      registered.push(collector.key);
    }
  } catch (error) {
    remove();
    throw error;
  }
  const onEnd = ({ store, outcome = 'answered', durationMs = 0, entries }: StoreCallMessage) => {
    durations.histogram.observe(store, outcome, durationMs / 1_000);
    sizes.histogram.observe(store, '', entries);
  };
  storeCalls.asyncEnd.subscribe(onEnd as (message: unknown) => void);

  function remove(): void {
    for (const name of registered.splice(0)) {
      into.removeSingleMetric(name);
    }
  }
  return () => {
    storeCalls.asyncEnd.unsubscribe(onEnd as (message: unknown) => void);
    remove();
  };
}

/**
 * One metric in the form that a registry of prom-client reads. Not one of its own classes: those keep their own
 * counts, updated on every change; this one reads the existing counts at each scrape.
 */
abstract class Collector {
  /** The key under which the registry keeps this metric. */
  readonly key: string;
  /** The metric's name. A registry in the OpenMetrics format removes `_total` from it. */
  name: string;
  readonly help: string;
  abstract readonly type: Collected['type'];
  readonly aggregator: Collected['aggregator'];

  constructor(name: string, help: string, aggregator: Collected['aggregator']) {
    this.key = name;
    this.name = name;
    this.help = help;
    this.aggregator = aggregator;
  }

  protected abstract values(): readonly Value[];

  get(): Promise<Collected> {
    const { name, help, type, aggregator } = this;
    return Promise.resolve({ name, help, type, aggregator, values: this.values() });
  }

  /** Called by `register.resetMetrics()`. */
  abstract reset(): void;
}

class Reading extends Collector {
  readonly type: Metric['kind'];
  readonly #metric: Metric;
  readonly #read: () => Readings;

  constructor(metric: Metric, read: () => Readings) {
    // When workers are aggregated, a store is up only if it is up for all of them.
    super(metric.prometheus, metric.help, metric.prometheus === 'drl_store_up' ? 'min' : 'sum');
    this.type = metric.kind;
    this.#metric = metric;
    this.#read = read;
  }

  protected values(): readonly Value[] {
    return this.#metric.samples(this.#read());
  }

  /** A reset must not change the limiters' own numbers. */
  reset(): void {}
}

function readRegister(option: string, value: unknown): PrometheusRegistry {
  const register = value as Partial<PrometheusRegistry> | null | undefined;
  if (
    typeof register?.registerMetric !== 'function' ||
    typeof register.removeSingleMetric !== 'function'
  ) {
    throw invalidOption(
      option,
      'a registry of prom-client',
      value,
      "Pass `register` of 'prom-client', or a Registry of yours.",
    );
  }
  return register as PrometheusRegistry;
}

class CollectedHistogram extends Collector {
  readonly type = 'histogram';
  readonly histogram: Histogram;
  readonly #labels: readonly string[];

  constructor(
    { prometheus, help, buckets }: typeof DURATION | typeof BATCH_SIZE,
    labels: readonly string[],
  ) {
    super(prometheus, help, 'sum');
    this.histogram = new Histogram(buckets);
    this.#labels = labels;
  }

  protected values(): readonly Value[] {
    return [...this.histogram].flatMap(([first, second, { count, sum, cumulative }]) => {
      const labels = Object.fromEntries(
        this.#labels.map((name, i) => [name, i === 0 ? first : second]),
      );
      const bucket = (le: number | string, value: number): Value => ({
        metricName: `${this.key}_bucket`,
        labels: { le, ...labels },
        value,
      });
      return [
        ...this.histogram.buckets.map((bound, i) => bucket(bound, cumulative[i]!)),
        bucket('+Inf', count),
        { metricName: `${this.key}_sum`, labels, value: sum },
        { metricName: `${this.key}_count`, labels, value: count },
      ];
    });
  }

  reset(): void {
    this.histogram.reset();
  }
}
