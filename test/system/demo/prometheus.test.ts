import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ALERTS, dashboard, ROWS } from '../../../scripts/dashboard.mjs';
import {
  findPrometheus,
  privateFolder,
  startPrometheus,
  startRedis,
  waitUntil,
} from '../../kit/servers/index.mjs';
import { startDemo } from './running.mjs';

const rules = fileURLToPath(new URL('../../../ops/alerts.yaml', import.meta.url));

// The first run on a machine may have to download it.
beforeAll(() => void findPrometheus('promtool'), 300_000);

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

function promtool(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(findPrometheus('promtool'), args, {
    encoding: 'utf8',
    input,
  });
  return { status, output: `${stdout}${stderr}` };
}

describe('the alert rules', () => {
  test('promtool accepts the alert rules', () => {
    const { status, output } = promtool(['check', 'rules', rules]);
    expect(output).toContain(`SUCCESS: ${ALERTS.length} rules found`);
    expect(status).toBe(0);
  });

  const store = '{job="api", instance="a", store="redis:6379", node=""}';
  const ofStore = '{job="api", instance="a", store="redis:6379"}';
  const within = (le: string) => `{job="api", instance="a", store="redis:6379", le="${le}"}`;
  const ofReason =
    '{job="api", instance="a", limiter="logins", outcome="allowed", reason="store_away"}';
  const cases = [
    {
      what: 'a store that is away for more than a minute is critical',
      alert: 'RateLimitStoreAway',
      series: { [`drl_store_up${store}`]: '1 0x9', [`drl_store_hung${store}`]: '0x10' },
      silentAt: '1m',
      firesAt: '3m',
      summary: '1 processes have no connection to redis:6379',
    },
    {
      what: 'a store that hangs is another alert, and not that one',
      alert: 'RateLimitStoreHung',
      not: 'RateLimitStoreAway',
      series: { [`drl_store_up${store}`]: '0x10', [`drl_store_hung${store}`]: '0 1x9' },
      silentAt: '1m',
      firesAt: '3m',
      summary: '1 processes get no answer from redis:6379',
    },
    {
      what: 'decisions without the store, for five minutes',
      alert: 'RateLimitDegraded',
      series: { [`drl_degraded_decisions_total${ofReason}`]: '0x4 0+60x20' },
      silentAt: '5m',
      firesAt: '15m',
      summary: 'logins decides without its store: allowed, store_away',
    },
    {
      what: 'calls that take more than 50 ms, one of a hundred or more',
      alert: 'RateLimitStoreSlow',
      series: {
        [`drl_store_call_duration_seconds_bucket${within('0.05')}`]: '0+100x15 1500+90x40',
        [`drl_store_call_duration_seconds_bucket${within('0.1')}`]: '0+100x55',
        [`drl_store_call_duration_seconds_bucket${within('+Inf')}`]: '0+100x55',
      },
      silentAt: '15m',
      firesAt: '45m',
      summary: 'One of a hundred calls to redis:6379 takes 95ms',
    },
    {
      what: 'nearly as much in flight as may be',
      alert: 'RateLimitInFlightHigh',
      series: { [`drl_store_in_flight${ofStore}`]: '8000x3 8001x10' },
      silentAt: '3m',
      firesAt: '6m',
      summary: 'a waits for 8001 calls to redis:6379',
    },
    {
      what: 'a call that is never answered',
      alert: 'RateLimitWriteOffs',
      series: { [`drl_store_written_off_total${ofStore}`]: '0x3 3x10' },
      silentAt: '3m',
      firesAt: '6m',
      summary: 'Calls to redis:6379 are never answered',
    },
    {
      what: 'a script that is forgotten again and again, but not one that had to be told once',
      alert: 'RateLimitScriptForgotten',
      series: { [`drl_store_noscript_total${ofStore}`]: '0 1x15 10+60x40' },
      silentAt: '15m',
      firesAt: '45m',
      summary: 'redis:6379 keeps forgetting the script',
    },
  ];

  test('every alert has a case in this file', () => {
    expect(cases.map(({ alert }) => alert)).toEqual(ALERTS.map(({ name }) => name));
  });

  test.each(cases)(
    'the alert $alert fires as expected: $what',
    ({ alert, not, series, silentAt, firesAt, summary }) => {
      const { severity, description } = ALERTS.find(({ name }) => name === alert)!;
      const at = (alertname: string, time: string, alerts: object[]) => ({
        eval_time: time,
        alertname,
        exp_alerts: alerts,
      });
      const file = path.join(privateFolder('rules'), 'test.yaml');
      const fires = (annotations: object, labels: object) => ({
        exp_labels: labels,
        exp_annotations: annotations,
      });
      const write = (alerts: object[]) =>
        writeFileSync(
          file,
          JSON.stringify({
            rule_files: [rules],
            evaluation_interval: '1m',
            tests: [
              {
                interval: '1m',
                input_series: Object.entries(series).map(([name, values]) => ({
                  series: name,
                  values,
                })),
                alert_rule_test: alerts,
              },
            ],
          }),
        );
      write([at(alert, silentAt, []), ...(not === undefined ? [] : [at(not, firesAt, [])])]);
      expect(promtool(['test', 'rules', file])).toMatchObject({ status: 0 });
      // Labels differ between cases, so the expected alerts are read from promtool's output.
      write([at(alert, firesAt, [fires({}, {})])]);
      const { output, status } = promtool(['test', 'rules', file]);
      expect(status).toBe(1);
      expect(output).toContain(`severity="${severity}"`);
      expect(output).toContain(summary);
      expect(output).toContain(description.slice(-40));
    },
  );
});

test('Grafana can read the dashboard: ids are distinct and panels do not overlap', () => {
  const { panels, templating } = dashboard();
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const places = panels.map(({ gridPos }) => gridPos as Record<'x' | 'y' | 'w' | 'h', number>);
  for (const [i, a] of places.entries()) {
    expect(a.x + a.w).toBeLessThanOrEqual(24);
    for (const b of places.slice(i + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      expect(apart, JSON.stringify([a, b])).toBe(true);
    }
  }
  const variables = templating.list.map(({ name }) => name);
  const used = JSON.stringify(panels).matchAll(/\$\{?([a-z]\w*)/g);
  expect(new Set(Array.from(used, ([, name]) => name))).toEqual(new Set(variables));
});

/** Queries as Grafana does, with every variable set to all and a short range. */
function asGrafanaAsks(expr: string): string {
  return expr.replaceAll('$__rate_interval', '10s').replaceAll(/\$[a-z]+/g, '.*');
}

test('each panel has data from a real Prometheus under load, with a hung and a lost Redis', async () => {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const demo = startDemo('--workers 2', { REDIS_URL: redis.url });
  cleanups.push(demo.close);
  const origin = await demo.origin();
  const exposition = await (await fetch(`${origin}/metrics`)).text();
  expect(promtool(['check', 'metrics'], exposition)).toEqual({ status: 0, output: '' });
  for (const worker of ['1', '2']) {
    expect(exposition).toMatch(new RegExp(`^drl_store_up{.*worker="${worker}"} 1$`, 'm'));
  }
  expect(exposition).not.toContain('proof-');

  const prometheus = await startPrometheus({ targets: [new URL(origin).host] });
  cleanups.push(prometheus.close);
  const load = new AbortController();
  const lanes = [
    '/search',
    '/hello',
    '/hello',
    '/export',
    '/report',
    '/report',
    '/report',
    '/report',
  ].map(async (route, lane) => {
    while (!load.signal.aborted) {
      const headers = { 'x-api-key': route === '/report' ? 'reports' : `caller-${lane}` };
      await fetch(`${origin}${route}`, { headers }).then((response) => response.text());
      await sleep(50);
    }
  });
  const ended = Promise.all(lanes);
  cleanups.push(() => {
    load.abort();
    return ended.catch(() => {});
  });

  const queries = ROWS.flatMap(({ panels }) =>
    panels.flatMap(({ title, queries: asked }) => asked.map(({ expr }) => ({ title, expr }))),
  );
  const exprOf = (title: string) => queries.find((query) => query.title === title)?.expr ?? '';
  const values = async (expr: string) =>
    (await prometheus.query(asGrafanaAsks(expr))).map(({ value }) => value);
  /** Waits until a panel shows more than 0 somewhere, once or while a load lasts. */
  const rises = (title: string, labels: Record<string, string> = {}) =>
    waitUntil(
      `'${title}' to show more than 0`,
      async () =>
        (await prometheus.query(asGrafanaAsks(exprOf(title)))).some(
          (series) =>
            series.value > 0 &&
            Object.entries(labels).every(([name, value]) => series.labels[name] === value),
        ),
      { timeoutMs: 20_000, everyMs: 200 },
    );

  await rises('Who is limited, by which rule', { limiter: 'demo/hello', limit: 'default' });
  await rises('Who is limited, by which rule', { limiter: 'demo/report', limit: 'places' });
  await rises('Shadow refusals', { limiter: 'demo/report', limit: 'trial' });
  await rises('Near the limit');
  await rises('Leases held', { limit: 'places' });
  await rises('Up');
  await redis.stop();
  await rises('Hung');
  await rises('Degraded decisions, by reason', { limiter: 'demo/hello' });
  await rises('Degraded decisions, by reason', { limiter: 'demo/export' });
  await redis.cont();
  await rises('Late replies');
  await redis.kill();
  await rises('Away');
  await rises('Degraded decisions, by reason', { reason: 'store_away' });
  await redis.start();
  await rises('NOSCRIPT');
  await rises('Up');

  for (const { title, expr } of queries) {
    await waitUntil(
      `data for '${title}': ${expr}`,
      async () => {
        const found = await values(expr);
        return found.length > 0 && found.every((value) => Number.isFinite(value));
      },
      { everyMs: 200 },
    );
  }
  // Every metric in the alerts exists, too.
  for (const { expr } of ALERTS) {
    for (const [name] of expr.matchAll(/drl_\w+/g)) {
      expect((await prometheus.query(name)).length, name).toBeGreaterThan(0);
    }
  }
}, 120_000);

test("a killed worker takes no other worker's numbers with it", async () => {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const demo = startDemo('--workers 2', { REDIS_URL: redis.url });
  cleanups.push(demo.close);
  const origin = await demo.origin();
  interface Tallied {
    counts: Record<string, number>;
  }
  interface Live {
    processes: { worker: number; pid: number; store: string; tally: Tallied[] }[];
  }
  const live = async () => (await (await fetch(`${origin}/live`)).json()) as Live;
  const { processes: before } = await live();
  expect(before.map(({ worker, store }) => [worker, store])).toEqual([
    [1, 'ready'],
    [2, 'ready'],
  ]);
  const sum = (name: string) =>
    before
      .flatMap(({ tally }) => tally)
      .reduce((total, { counts }) => total + (counts[name] ?? 0), 0);
  expect([sum('passed'), sum('refused')]).toEqual([100, 300]);

  // A stopped worker answers no request; the other one reports only itself.
  const [one, two] = before;
  process.kill(one!.pid, 'SIGSTOP');
  const during = await waitUntil('an answer', async () => {
    const response = await fetch(`${origin}/live`, { signal: AbortSignal.timeout(3_000) });
    return ((await response.json()) as Live).processes;
  });
  expect(during).toEqual([two]);
  process.kill(one!.pid, 'SIGKILL');
  await demo.printed(/Worker 1 ended; another one took its place/);
  const { processes: after } = await live();
  expect(after.map(({ worker }) => worker)).toEqual([1, 2]);
  expect(after[0]!.tally).toEqual([]);
  expect(after[1]).toEqual(two);
});
