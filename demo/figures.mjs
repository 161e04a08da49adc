/** The figures of the demo's processes, for the live page and for Prometheus. */
import process from 'node:process';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { AggregatorRegistry, Registry } from 'prom-client';
import { RULE_NAMES } from './limits.mjs';

/**
 * @typedef {object} Counts decisions since the process began
 * @property {number} passed
 * @property {number} refused
 * @property {number} passedDegraded without Redis, by the failure strategy
 * @property {number} refusedDegraded
 *
 * @typedef {object} Figures of one process
 * @property {number} worker its number, from 1
 * @property {number} pid
 * @property {number} beganAt in milliseconds since 1970
 * @property {'memory' | import('./serve.mjs').StoreState} store
 * @property {Counts} counts of all its limiters
 * @property {number} calls script calls to Redis
 *
 * @typedef {object} Report of one process; several travel between processes
 * @property {Figures} figures
 * @property {readonly object[]} metrics as a registry of prom-client gives them
 *
 * @typedef {() => Promise<readonly Report[]>} Gather asks all processes behind the port
 */

/**
 * @param {import('./limits.mjs').Limiters} limiters
 * @param {number} worker
 * @param {() => Figures['store']} store how it is now
 * @returns {{ report: () => Promise<Report>, close: () => void }}
 */
export function openFigures(limiters, worker, store) {
  const register = new Registry();
  // A scrape reaches one of the workers behind the port. The label `worker` keeps apart the metrics whose sum would
  // drop when one worker ends, and look like a restart of all.
  register.setDefaultLabels({ worker: String(worker) });
  const close = prometheusMetrics({ register, limiters: Object.values(limiters) });
  return {
    report: async () => {
      const metrics = await register.getMetricsAsJSON();
      return {
        figures: {
          worker,
          pid: process.pid,
          beganAt: Math.round(performance.timeOrigin),
          store: store(),
          counts: countsOf(limiters),
          calls: callsIn(metrics),
        },
        metrics,
      };
    },
    close,
  };
}

/**
 * What Prometheus reads.
 * @param {readonly Report[]} reports
 * @returns {Promise<{ type: string, text: string }>}
 */
export async function expositionOf(reports) {
  const all = AggregatorRegistry.aggregate(reports.map(({ metrics }) => [...metrics]));
  return { type: all.contentType, text: await all.metrics() };
}

/** @param {import('./limits.mjs').Limiters} limiters @returns {Counts} */
function countsOf(limiters) {
  const counts = { passed: 0, refused: 0, passedDegraded: 0, refusedDegraded: 0 };
  for (const name of RULE_NAMES) {
    const { allowed, refused } = limiters[name].stats().decisions;
    const { within_limit: within = 0, unlimited = 0, ...passedDegraded } = allowed;
    const { limited = 0, blocked = 0, impossible = 0, ...refusedDegraded } = refused;
    counts.passed += within + unlimited;
    counts.refused += limited + blocked + impossible;
    counts.passedDegraded += sum(passedDegraded);
    counts.refusedDegraded += sum(refusedDegraded);
  }
  return counts;
}

/** @param {Awaited<ReturnType<Registry['getMetricsAsJSON']>>} metrics */
function callsIn(metrics) {
  const calls = metrics.find(({ name }) => name === 'drl_store_calls_total');
  return (calls?.values ?? []).reduce((total, { value }) => total + value, 0);
}

/** @param {Readonly<Record<string, number>>} counts */
function sum(counts) {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
