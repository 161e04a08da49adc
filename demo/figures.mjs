/** The figures of the demo's processes, for the live page and for Prometheus. */
import process from 'node:process';
import { prometheusMetrics } from 'distributed-rate-limiter/prometheus';
import { AggregatorRegistry, Registry } from 'prom-client';
import { callsAsked } from './asked.mjs';

/**
 * @typedef {object} Figures of one process, since it began
 * @property {number} worker its number, from 1
 * @property {number} pid
 * @property {number} beganAt in milliseconds since 1970
 * @property {'memory' | import('./serve.mjs').StoreState} store
 * @property {readonly import('./tally.mjs').Tallied[]} tally
 * @property {number} calls script calls to Redis that decisions caused
 * @property {import('./saving.mjs').Counted['sources']} sources where decisions were made
 * @property {import('./saving.mjs').Counted['prepaid']} prepaid units
 * @property {import('./limits.mjs').Saving} saving what is switched on now
 *
 * @typedef {object} Report of one process; several travel between processes
 * @property {Figures} figures
 * @property {readonly object[]} metrics as a registry of prom-client gives them
 */

/**
 * @param {object} parts
 * @param {import('./saving.mjs').SwitchedLimiters} parts.limiters
 * @param {ReturnType<typeof import('./tally.mjs').openTally>} parts.tally
 * @param {number} parts.worker
 * @param {() => Figures['store']} parts.store how it is now
 * @returns {{ report: () => Promise<Report>, close: () => void }}
 */
export function openFigures({ limiters, tally, worker, store }) {
  const register = new Registry();
  // A scrape reaches one of the workers behind the port. The label `worker` keeps apart the metrics whose sum would
  // drop when one worker ends, and look like a restart of all.
  register.setDefaultLabels({ worker: String(worker) });
  const close = prometheusMetrics({ register });
  return {
    report: async () => ({
      figures: {
        worker,
        pid: process.pid,
        beganAt: Math.round(performance.timeOrigin),
        store: store(),
        tally: tally.all(),
        calls: callsAsked(),
        ...limiters.counts(),
        saving: limiters.saving(),
      },
      metrics: await register.getMetricsAsJSON(),
    }),
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
