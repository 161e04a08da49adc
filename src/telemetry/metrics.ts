import { liveLimiters, liveStores, statsByNamespace } from '../observe/stats-registry.ts';
import type { LimiterStats, LimitStats, StoreStats } from '../observe/stats.ts';
import type { Source } from '../observe/stats-registry.ts';
import { invalidOption } from '../base/errors.ts';

/** A source for an exporter's `limiters`: a `RateLimiter`. */
export type Counted = Source<LimiterStats>;

/** The data of one scrape: by namespace, and by the address of a connection. */
export interface Readings {
  readonly limiters: ReadonlyMap<string, LimiterStats>;
  readonly stores: ReadonlyMap<string, StoreStats>;
}

/** The label names of all metrics. None ever contains an identity. */
type Label = 'limiter' | 'limit' | 'unit' | 'outcome' | 'reason' | 'source' | 'store' | 'node';

interface Sample {
  readonly labels: Readonly<Partial<Record<Label, string>>>;
  readonly value: number;
}

/** One number that the core keeps, with its name in Prometheus and in OpenTelemetry. */
export interface Metric {
  readonly prometheus: string;
  readonly openTelemetry: string;
  readonly kind: 'counter' | 'gauge';
  /** The unit in OpenTelemetry's notation. */
  readonly unit: string;
  readonly help: string;
  samples(readings: Readings): Sample[];
}

/** Reads these limiters, or all that live in this process; always reads all of its connections. */
export function makeReader(limiters: readonly Counted[] | undefined): () => Readings {
  return () => ({
    limiters: limiters === undefined ? liveLimiters.read() : statsByNamespace(limiters),
    stores: liveStores.read(),
  });
}

export function readLimiters(option: string, limiters: unknown): readonly Counted[] {
  if (
    !Array.isArray(limiters) ||
    !limiters.every((limiter) => typeof (limiter as Counted | null)?.stats === 'function')
  ) {
    throw invalidOption(
      option,
      'an array of RateLimiters',
      limiters,
      'Leave it out for all of this process.',
    );
  }
  return [...(limiters as Counted[])];
}

function perDecision({ limiters }: Readings): Sample[] {
  return [...limiters].flatMap(([limiter, { decisions }]) =>
    Object.entries(decisions).flatMap(([outcome, reasons]) =>
      Object.entries(reasons).map(([reason, value]) => ({
        labels: { limiter, outcome, reason },
        value,
      })),
    ),
  );
}

function perSource({ limiters }: Readings): Sample[] {
  return [...limiters].flatMap(([limiter, { sources }]) =>
    Object.entries(sources).map(([source, value]) => ({ labels: { limiter, source }, value })),
  );
}

function perPrepaid({ limiters }: Readings): Sample[] {
  return [...limiters].flatMap(([limiter, { prepaid }]) =>
    Object.entries(prepaid ?? {}).map(([state, value]) => ({ labels: { limiter, state }, value })),
  );
}

function perDegradation(readings: Readings): Sample[] {
  return perDecision(readings).filter(
    ({ labels: { reason = '' } }) => reason === 'overloaded' || reason.startsWith('store_'),
  );
}

function perLimit(values: (stats: LimitStats) => Readonly<Record<string, number>>) {
  return ({ limiters }: Readings): Sample[] =>
    [...limiters].flatMap(([limiter, { limits }]) =>
      Object.entries(limits).flatMap(([limit, stats]) =>
        Object.entries(values(stats)).map(([outcome, value]) => ({
          labels: {
            limiter,
            limit,
            ...(stats.unit === undefined ? {} : { unit: stats.unit }),
            ...(outcome === '' ? {} : { outcome }),
          },
          value,
        })),
      ),
    );
}

/** Of limits that have this number. */
function counted(value: number | undefined): Readonly<Record<string, number>> {
  return value === undefined ? {} : { '': value };
}

function perStore(value: (stats: StoreStats) => number) {
  return ({ stores }: Readings): Sample[] =>
    [...stores].map(([store, stats]) => ({ labels: { store }, value: value(stats) }));
}

function perNode(state: 'ready' | 'hung') {
  return ({ stores }: Readings): Sample[] =>
    [...stores].flatMap(([store, { nodes }]) =>
      Object.entries(nodes).map(([node, now]) => ({
        labels: { store, node },
        value: now === state ? 1 : 0,
      })),
    );
}

/** All metrics but the two distributions, which are observed once per script call. */
export const METRICS: readonly Metric[] = [
  {
    prometheus: 'drl_decisions_total',
    openTelemetry: 'distributed_rate_limiter.requests',
    kind: 'counter',
    unit: '{request}',
    help: 'Decisions, by what became of the call and why.',
    samples: perDecision,
  },
  {
    prometheus: 'drl_decision_sources_total',
    openTelemetry: 'distributed_rate_limiter.request_sources',
    kind: 'counter',
    unit: '{request}',
    help: 'The same decisions, by where they were made.',
    samples: perSource,
  },
  {
    prometheus: 'drl_prepaid_units_total',
    openTelemetry: 'distributed_rate_limiter.prepaid_units',
    kind: 'counter',
    unit: '{unit}',
    help: 'Units that processes were charged for beforehand, and units of these by which calls have passed.',
    samples: perPrepaid,
  },
  {
    prometheus: 'drl_degraded_decisions_total',
    openTelemetry: 'distributed_rate_limiter.degraded_requests',
    kind: 'counter',
    unit: '{request}',
    help: 'Those of the decisions that the failure strategy made, without the store.',
    samples: perDegradation,
  },
  {
    prometheus: 'drl_limit_decisions_total',
    openTelemetry: 'distributed_rate_limiter.limit.requests',
    kind: 'counter',
    unit: '{request}',
    help: 'What each limit said of the calls that the store decided. A call under several limits counts once for each.',
    samples: perLimit(({ allowed, refused }) => ({ allowed, refused })),
  },
  {
    prometheus: 'drl_shadow_refusals_total',
    openTelemetry: 'distributed_rate_limiter.limit.shadow_refusals',
    kind: 'counter',
    unit: '{request}',
    help: 'Calls that a shadow limit would have refused.',
    samples: perLimit(({ shadowRefused }) => ({ '': shadowRefused })),
  },
  {
    prometheus: 'drl_near_limit_total',
    openTelemetry: 'distributed_rate_limiter.limit.near_limit',
    kind: 'counter',
    unit: '{request}',
    help: 'Calls that passed and left a limit with at most 20 % of its capacity.',
    samples: perLimit(({ nearLimit }) => ({ '': nearLimit })),
  },
  {
    prometheus: 'drl_bans_total',
    openTelemetry: 'distributed_rate_limiter.limit.bans',
    kind: 'counter',
    unit: '{ban}',
    help: 'Bans that refusals by a limit started, of limits with a ban.',
    samples: perLimit(({ bans }) => counted(bans)),
  },
  {
    prometheus: 'drl_shadow_bans_total',
    openTelemetry: 'distributed_rate_limiter.limit.shadow_bans',
    kind: 'counter',
    unit: '{ban}',
    help: 'Bans that a shadow limit would have started.',
    samples: perLimit(({ shadowBans }) => counted(shadowBans)),
  },
  {
    prometheus: 'drl_leases_held',
    openTelemetry: 'distributed_rate_limiter.active_request_leases',
    kind: 'gauge',
    unit: '{lease}',
    help: 'Leases that this process holds, of concurrency limits.',
    samples: perLimit(({ leasesHeld }) => counted(leasesHeld)),
  },
  {
    prometheus: 'drl_store_up',
    openTelemetry: 'distributed_rate_limiter.store.up',
    kind: 'gauge',
    unit: '1',
    help: '1 where the store is connected and answers, else 0.',
    samples: perNode('ready'),
  },
  {
    prometheus: 'drl_store_hung',
    openTelemetry: 'distributed_rate_limiter.store.hung',
    kind: 'gauge',
    unit: '1',
    help: '1 where the store is connected but does not answer, else 0.',
    samples: perNode('hung'),
  },
  {
    prometheus: 'drl_store_in_flight',
    openTelemetry: 'distributed_rate_limiter.store.in_flight',
    kind: 'gauge',
    unit: '{call}',
    help: 'Calls of limiters that the Redis client has not settled yet.',
    samples: perStore(({ inFlight }) => inFlight),
  },
  {
    prometheus: 'drl_store_calls_total',
    openTelemetry: 'distributed_rate_limiter.store.calls',
    kind: 'counter',
    unit: '{call}',
    help: 'Script calls sent to the store.',
    samples: perStore(({ calls }) => calls),
  },
  {
    prometheus: 'drl_store_entries_total',
    openTelemetry: 'distributed_rate_limiter.store.entries',
    kind: 'counter',
    unit: '{entry}',
    help: 'Calls of limiters that travelled in script calls.',
    samples: perStore(({ entries }) => entries),
  },
  {
    prometheus: 'drl_store_keys_total',
    openTelemetry: 'distributed_rate_limiter.store.keys',
    kind: 'counter',
    unit: '{key}',
    help: 'Keys that script calls named.',
    samples: perStore(({ keys }) => keys),
  },
  {
    prometheus: 'drl_store_noscript_total',
    openTelemetry: 'distributed_rate_limiter.store.noscript',
    kind: 'counter',
    unit: '{call}',
    help: 'Script calls that were sent again with the text of the script, because the store did not know it.',
    samples: perStore(({ noScript }) => noScript),
  },
  {
    prometheus: 'drl_store_late_replies_total',
    openTelemetry: 'distributed_rate_limiter.store.late_replies',
    kind: 'counter',
    unit: '{call}',
    help: 'Replies that came after their callers had been answered without them.',
    samples: perStore(({ lateReplies }) => lateReplies),
  },
  {
    prometheus: 'drl_store_written_off_total',
    openTelemetry: 'distributed_rate_limiter.store.written_off',
    kind: 'counter',
    unit: '{call}',
    help: 'Script calls that were never answered and are no longer waited for.',
    samples: perStore(({ writtenOff }) => writtenOff),
  },
];

/** From 0.1 ms, the time of a local Redis, to beyond the default deadline of 250 ms. */
export const DURATION = {
  prometheus: 'drl_store_call_duration_seconds',
  openTelemetry: 'distributed_rate_limiter.store.call.duration',
  unit: 's',
  help: 'Time from sending a script call until its callers were answered, by a reply or without.',
  buckets: [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  ],
} as const;

/** Up to the most calls that one script call takes. */
export const BATCH_SIZE = {
  prometheus: 'drl_store_call_entries',
  openTelemetry: 'distributed_rate_limiter.store.call.entries',
  unit: '{entry}',
  help: 'Calls of limiters that travelled in one script call.',
  buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
} as const;
