#!/usr/bin/env node
/**
 * Writes ops/grafana-dashboard.json and ops/alerts.yaml from the tables below. With --check it writes nothing and fails
 * when those files are stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} description the question that it answers, and what to make of the answer
 * @property {readonly Query[]} queries
 * @property {string} unit as Grafana names it
 * @property {'timeseries' | 'state-timeline'} [type] default: timeseries
 * @property {boolean} [stacked]
 * @property {1 | 2} [width] of three columns; default 1
 * @property {1} [max] of the axis, where it is known
 *
 * @typedef {object} Query
 * @property {string} expr
 * @property {string} legend
 *
 * @typedef {object} Alert
 * @property {string} name
 * @property {string} expr
 * @property {string} lasts how long it must be true: `for`
 * @property {'critical' | 'warning' | 'info'} severity
 * @property {string} summary one line
 * @property {string} description what it means for callers, and what to do
 */

const JSON_FILE = new URL('../ops/grafana-dashboard.json', import.meta.url);
const YAML_FILE = new URL('../ops/alerts.yaml', import.meta.url);
const RUNBOOK = 'docs/observability.md#what-to-alert-on';

/**
 * `$__rate_interval` is a time that Grafana derives from the scrape interval. `$selected` filters by the choices above
 * the panels.
 */
const over = '[$__rate_interval]';
const ofLimiter = 'limiter=~"$limiter",job=~"$job",instance=~"$instance"';
const ofStore = 'store=~"$store",job=~"$job",instance=~"$instance"';

/** @param {string} metric @param {string} [more] matchers */
const limiterRate = (metric, more = '') => `rate(${metric}{${more}${ofLimiter}}${over})`;
/** @param {string} metric @param {string} [more] matchers */
const storeRate = (metric, more = '') => `rate(${metric}{${more}${ofStore}}${over})`;
/** @param {number} q @param {string} metric */
const quantile = (q, metric) =>
  `histogram_quantile(${q}, sum by (le, store) (${storeRate(`${metric}_bucket`)}))`;

/** @type {readonly { title: string, panels: readonly Panel[] }[]} */
export const ROWS = [
  {
    title: 'Decisions',
    panels: [
      {
        title: 'Decisions per second, by outcome',
        description:
          'What becomes of calls. `rejected` is only there under failStrategy throw, while the store is in trouble.',
        queries: [
          {
            expr: `sum by (limiter, outcome) (${limiterRate('drl_decisions_total')})`,
            legend: '{{limiter}}: {{outcome}}',
          },
        ],
        unit: 'reqps',
        stacked: true,
        width: 2,
      },
      {
        title: 'Share of calls that are over a limit',
        description: 'Of the calls that the store decided: how many it refused, and why.',
        queries: [
          {
            expr:
              `sum by (limiter) (${limiterRate('drl_decisions_total', 'reason=~"limited|blocked|impossible",')})` +
              ` / sum by (limiter) (${limiterRate('drl_decisions_total', 'reason=~"within_limit|limited|blocked|impossible",')})`,
            legend: '{{limiter}}',
          },
        ],
        unit: 'percentunit',
        max: 1,
      },
      {
        title: 'Who is limited, by which rule',
        description:
          'Refusals of each limit. A call under several limits is counted under each that refused it.',
        queries: [
          {
            expr: `sum by (limiter, limit) (${limiterRate('drl_limit_decisions_total', 'outcome="refused",')})`,
            legend: '{{limiter}}: {{limit}}',
          },
        ],
        unit: 'reqps',
      },
      {
        title: 'Refusals, by reason',
        description:
          '`limited`: waiting helps. `blocked`: by hand or by a rule of yours. `impossible`: the cost is above what the limit ever allows, which is a mistake of the caller.',
        queries: [
          {
            expr: `sum by (limiter, reason) (${limiterRate('drl_decisions_total', 'reason=~"limited|blocked|impossible",')})`,
            legend: '{{limiter}}: {{reason}}',
          },
        ],
        unit: 'reqps',
      },
      {
        title: 'Near the limit',
        description:
          'Calls that passed and left a limit with at most 20 % of its capacity: who will be refused next, if this grows.',
        queries: [
          {
            expr: `sum by (limiter, limit) (${limiterRate('drl_near_limit_total')})`,
            legend: '{{limiter}}: {{limit}}',
          },
        ],
        unit: 'reqps',
      },
      {
        title: 'Shadow refusals',
        description:
          'Calls that a shadow limit would have refused. Before it is enforced, this is who would notice.',
        queries: [
          {
            expr: `sum by (limiter, limit) (${limiterRate('drl_shadow_refusals_total')})`,
            legend: '{{limiter}}: {{limit}}',
          },
        ],
        unit: 'reqps',
      },
      {
        title: 'Leases held',
        description:
          'Places of concurrency limits that processes hold right now. One that only rises is not released.',
        queries: [
          {
            expr: `sum by (limiter, limit) (drl_leases_held{${ofLimiter}})`,
            legend: '{{limiter}}: {{limit}}',
          },
        ],
        unit: 'short',
      },
      {
        title: 'Degraded decisions, by reason',
        description:
          'Decisions that the failure strategy made, without the store. Anything but 0 is an outage, or a bound that was reached (`overloaded`).',
        queries: [
          {
            expr: `sum by (limiter, reason) (${limiterRate('drl_degraded_decisions_total')})`,
            legend: '{{limiter}}: {{reason}}',
          },
        ],
        unit: 'reqps',
        stacked: true,
      },
      {
        title: 'Decisions per second, by source',
        description:
          '`store`: a script call decided. `slice`, `deny_cache`: the process decided from what a script call had said before. `none`: no state was needed or known.',
        queries: [
          {
            expr: `sum by (limiter, source) (${limiterRate('drl_decision_sources_total')})`,
            legend: '{{limiter}}: {{source}}',
          },
        ],
        unit: 'reqps',
        stacked: true,
        width: 2,
      },
    ],
  },
  {
    title: 'Redis',
    panels: [
      {
        title: 'Up',
        description: '1 where all processes are connected to the store and it answers them.',
        queries: [
          {
            expr: `min by (store, node) (drl_store_up{${ofStore}})`,
            legend: '{{store}} {{node}}',
          },
        ],
        unit: 'short',
        type: 'state-timeline',
        max: 1,
      },
      {
        title: 'Hung',
        description: 'Processes that are connected to the store but get no answer.',
        queries: [
          {
            expr: `sum by (store, node) (drl_store_hung{${ofStore}})`,
            legend: '{{store}} {{node}}',
          },
        ],
        unit: 'short',
      },
      {
        title: 'Away',
        description: 'Processes that have no connection to the store.',
        queries: [
          {
            expr: `sum by (store, node) ((drl_store_up{${ofStore}} == bool 0) * (drl_store_hung{${ofStore}} == bool 0))`,
            legend: '{{store}} {{node}}',
          },
        ],
        unit: 'short',
      },
      {
        title: 'Call duration',
        description:
          'Of a script call, in which many decisions may travel, until its callers were answered.',
        queries: [
          { expr: quantile(0.5, 'drl_store_call_duration_seconds'), legend: '{{store}} p50' },
          { expr: quantile(0.95, 'drl_store_call_duration_seconds'), legend: '{{store}} p95' },
          { expr: quantile(0.99, 'drl_store_call_duration_seconds'), legend: '{{store}} p99' },
        ],
        unit: 's',
      },
      {
        title: 'Calls per second, by outcome',
        description: 'Script calls. All but `answered` left their callers without a decision.',
        queries: [
          {
            expr: `sum by (store, outcome) (${storeRate('drl_store_call_duration_seconds_count')})`,
            legend: '{{store}} {{outcome}}',
          },
        ],
        unit: 'ops',
        stacked: true,
      },
      {
        title: 'Batch size',
        description:
          'Decisions that travel in one script call. It grows with the load, and saves Redis work.',
        queries: [
          {
            expr: `sum by (store) (${storeRate('drl_store_entries_total')}) / sum by (store) (${storeRate('drl_store_calls_total')})`,
            legend: '{{store}} mean',
          },
          { expr: quantile(0.95, 'drl_store_call_entries'), legend: '{{store}} p95' },
        ],
        unit: 'short',
      },
      {
        title: 'Script calls per decision',
        description:
          'Of all limiters and connections of these processes. Batches and decisions of the process itself bring it below 1; verbs that decide nothing, such as `settle`, bring it up.',
        queries: [
          {
            expr: `sum by (job) (rate(drl_store_calls_total{job=~"$job",instance=~"$instance"}${over})) / sum by (job) (rate(drl_decisions_total{job=~"$job",instance=~"$instance"}${over}))`,
            legend: '{{job}}',
          },
        ],
        unit: 'short',
      },
      {
        title: 'In flight, of one process',
        description:
          'Calls that the client has not settled yet, in the process that has most. At `maxInFlight` (10,000 unless you say otherwise) calls are answered at once, `overloaded`.',
        queries: [
          {
            expr: `max by (store) (drl_store_in_flight{${ofStore}})`,
            legend: '{{store}}',
          },
        ],
        unit: 'short',
      },
      {
        title: 'Keys per second',
        description: 'Keys that script calls name: what Redis has to look up.',
        queries: [
          {
            expr: `sum by (store) (${storeRate('drl_store_keys_total')})`,
            legend: '{{store}}',
          },
        ],
        unit: 'ops',
      },
      {
        title: 'NOSCRIPT',
        description:
          'Calls that had to be sent again with the text of the script. A few after each start of a server; if they go on, something empties its script cache.',
        queries: [
          {
            expr: `sum by (store) (${storeRate('drl_store_noscript_total')})`,
            legend: '{{store}}',
          },
        ],
        unit: 'ops',
      },
      {
        title: 'Late replies',
        description:
          'Replies that came after their callers had been answered without them. Redis is slow, or the deadline is short for this network.',
        queries: [
          {
            expr: `sum by (store) (${storeRate('drl_store_late_replies_total')})`,
            legend: '{{store}}',
          },
        ],
        unit: 'ops',
      },
      {
        title: 'Write-offs',
        description:
          'Script calls that were never answered and are no longer waited for: lost by the network, or by the client.',
        queries: [
          {
            expr: `sum by (store) (${storeRate('drl_store_written_off_total')})`,
            legend: '{{store}}',
          },
        ],
        unit: 'ops',
      },
    ],
  },
];

/** @type {readonly Alert[]} */
export const ALERTS = [
  {
    name: 'RateLimitStoreAway',
    expr: 'sum by (job, store, node) ((drl_store_up == bool 0) * (drl_store_hung == bool 0)) > 0',
    lasts: '1m',
    severity: 'critical',
    summary: '{{ $value }} processes have no connection to {{ $labels.store }}',
    description:
      'Their decisions are made by the failure strategy: under "open" nobody is limited, under "closed" callers get 503. Is that Redis running, and can it be reached from those processes? They connect again by themselves.',
  },
  {
    name: 'RateLimitStoreHung',
    expr: 'sum by (job, store, node) (drl_store_hung) > 0',
    lasts: '1m',
    severity: 'critical',
    summary: '{{ $value }} processes get no answer from {{ $labels.store }}',
    description:
      'The connection is open, but nothing comes back: decisions are made by the failure strategy. Look for a slow command (SLOWLOG GET), a fork, swapping or a stopped process on that Redis, and for a network that drops packets.',
  },
  {
    name: 'RateLimitDegraded',
    expr: 'sum by (job, limiter, outcome, reason) (rate(drl_degraded_decisions_total[5m])) > 0',
    lasts: '5m',
    severity: 'warning',
    summary:
      '{{ $labels.limiter }} decides without its store: {{ $labels.outcome }}, {{ $labels.reason }}',
    description:
      '{{ $value | humanize }} decisions a second. "allowed": nobody is limited; otherwise callers see 503. store_away and store_timeout: see RateLimitStoreAway and RateLimitStoreHung; alone, store_timeout means that the deadline is too short for how slow Redis is at times. store_error: Redis answers with an error, which onError and the span of the call tell. overloaded: see RateLimitInFlightHigh.',
  },
  {
    name: 'RateLimitStoreSlow',
    expr: 'histogram_quantile(0.99, sum by (job, le, store) (rate(drl_store_call_duration_seconds_bucket[5m]))) > 0.05',
    lasts: '10m',
    severity: 'warning',
    summary: 'One of a hundred calls to {{ $labels.store }} takes {{ $value | humanizeDuration }}',
    description:
      'The deadline, 250 ms by default, comes near: beyond it decisions are made by the failure strategy. Look at what else that Redis does (SLOWLOG GET, INFO commandstats), at its CPU, and at the way to it.',
  },
  {
    name: 'RateLimitInFlightHigh',
    expr: 'drl_store_in_flight > 8000',
    lasts: '1m',
    severity: 'warning',
    summary: '{{ $labels.instance }} waits for {{ $value }} calls to {{ $labels.store }}',
    description:
      'At maxInFlight further calls are answered at once without a decision (overloaded). The threshold is 80 % of the default of 10,000: change it with yours. Redis is too slow for this load, or the process too busy to read its answers: add processes, or look at the CPU of both.',
  },
  {
    name: 'RateLimitWriteOffs',
    expr: 'sum by (job, store) (increase(drl_store_written_off_total[10m])) > 0',
    lasts: '1m',
    severity: 'warning',
    summary: 'Calls to {{ $labels.store }} are never answered',
    description:
      '{{ $value | humanize }} in ten minutes. Each may have been charged, once. A Redis that hung for more than ten deadlines explains it; if it goes on while the store is up, the client loses replies: look at its version and at what lies between (a proxy, a firewall that drops idle connections).',
  },
  {
    name: 'RateLimitScriptForgotten',
    expr: 'sum by (job, store) (rate(drl_store_noscript_total[10m])) > 0.1',
    lasts: '10m',
    severity: 'info',
    summary: '{{ $labels.store }} keeps forgetting the script',
    description:
      'Every decision still holds, but each such call takes a second round trip. Something sends SCRIPT FLUSH, or the connection leads to a new server again and again.',
  },
];

const COLUMN = 8;
const HEIGHT = 8;

export function dashboard() {
  let id = 0;
  let y = 0;
  const panels = ROWS.flatMap((row) => {
    const heading = {
      id: (id += 1),
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { h: 1, w: 24, x: 0, y: y++ },
      panels: [],
    };
    let x = 0;
    const placed = row.panels.map((panel) => {
      const w = COLUMN * (panel.width ?? 1);
      if (x + w > 24) {
        x = 0;
        y += HEIGHT;
      }
      const gridPos = { h: HEIGHT, w, x, y };
      x += w;
      return panelOf(panel, (id += 1), gridPos);
    });
    y += HEIGHT;
    return [heading, ...placed];
  });
  return {
    title: 'Rate limits (distributed-rate-limiter)',
    uid: 'distributed-rate-limiter',
    description: 'Generated by scripts/dashboard.mjs.',
    tags: ['rate-limit', 'redis'],
    editable: true,
    schemaVersion: 38,
    refresh: '10s',
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    templating: { list: [sourceVariable(), ...VARIABLES.map(variable)] },
    annotations: { list: [] },
    panels,
  };
}

const SOURCE = { type: 'prometheus', uid: '${source}' };

/**
 * @param {Panel} panel
 * @param {number} id
 * @param {object} gridPos
 */
function panelOf({ title, description, queries, unit, type, stacked, max }, id, gridPos) {
  const timeline = type === 'state-timeline';
  const custom = timeline
    ? { fillOpacity: 70 }
    : {
        fillOpacity: stacked ? 30 : 10,
        stacking: { mode: stacked ? 'normal' : 'none' },
        showPoints: 'never',
      };
  const defaults = {
    unit,
    min: 0,
    ...(max === undefined ? {} : { max }),
    custom,
    ...(timeline
      ? {
          mappings: [
            {
              type: 'value',
              options: {
                0: { text: 'no', color: 'red', index: 0 },
                1: { text: 'yes', color: 'green', index: 1 },
              },
            },
          ],
        }
      : {}),
  };
  return {
    id,
    type: type ?? 'timeseries',
    title,
    description,
    datasource: SOURCE,
    gridPos,
    fieldConfig: { defaults, overrides: [] },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: timeline ? 'single' : 'multi', sort: 'desc' },
    },
    targets: queries.map(({ expr, legend }, i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource: SOURCE,
      expr,
      legendFormat: legend,
    })),
  };
}

const VARIABLES = [
  { name: 'job', query: 'label_values(drl_decisions_total, job)' },
  { name: 'instance', query: 'label_values(drl_decisions_total{job=~"$job"}, instance)' },
  { name: 'limiter', query: 'label_values(drl_decisions_total{job=~"$job"}, limiter)' },
  { name: 'store', query: 'label_values(drl_store_up{job=~"$job"}, store)' },
];

function sourceVariable() {
  return { name: 'source', label: 'data source', type: 'datasource', query: 'prometheus' };
}

/** @param {{ name: string, query: string }} variable */
function variable({ name, query }) {
  return {
    name,
    label: name,
    type: 'query',
    datasource: SOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    includeAll: true,
    allValue: '.*',
    multi: true,
    current: { text: 'All', value: '$__all' },
    sort: 1,
  };
}

export function alerts() {
  const rules = ALERTS.map(({ name, expr, lasts, severity, summary, description }) =>
    [
      `      - alert: ${name}`,
      `        expr: ${quoted(expr)}`,
      `        for: ${lasts}`,
      '        labels:',
      `          severity: ${severity}`,
      '        annotations:',
      `          summary: ${quoted(summary)}`,
      `          description: ${quoted(description)}`,
      `          runbook: ${quoted(RUNBOOK)}`,
    ].join('\n'),
  );
  return [
    '# Generated by `npm run generate` from scripts/dashboard.mjs. Do not edit.',
    'groups:',
    '  - name: distributed-rate-limiter',
    '    rules:',
    rules.join('\n'),
    '',
  ].join('\n');
}

/** A JSON string is a YAML string. @param {string} text */
function quoted(text) {
  return JSON.stringify(text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = [
    { file: JSON_FILE, text: `${JSON.stringify(dashboard(), undefined, 2)}\n` },
    { file: YAML_FILE, text: alerts() },
  ];
  for (const { file, text } of files) {
    if (!process.argv.includes('--check')) {
      writeFileSync(file, text);
    } else if (readFileSync(file, 'utf8') !== text) {
      console.error(
        `${fileURLToPath(file)} is stale: run \`npm run generate\` and commit the result.`,
      );
      process.exitCode = 1;
    }
  }
}
