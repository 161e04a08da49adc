/** One of several processes behind the port; workers.mjs starts it. */
import process from 'node:process';
import { Problem } from './problem.mjs';
import { serveHere } from './serve.mjs';

/**
 * @typedef {import('./figures.mjs').Report} Report
 * @typedef {Omit<import('./serve.mjs').Serving, 'onStoreState'> & { worker: number }} WorkerOrder
 * @typedef {{ kind: 'ready' } | { kind: 'failed', message: string } | { kind: 'store', state: import('./serve.mjs').StoreState } | { kind: 'gather', ask: number } | { kind: 'report', ask: number, report: Report }} WorkerWord
 * @typedef {{ kind: 'end' } | { kind: 'report', ask: number } | { kind: 'gathered', ask: number, reports: readonly Report[] }} PrimaryWord
 */

// Ctrl-C reaches the whole group of processes; the parent decides when this one ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

/** @param {WorkerWord} word */
function tell(word) {
  if (process.connected) process.send?.(word);
}

/**
 * Callers still waiting for the reports of all workers, by number of the question.
 *
 * @type {Map<number, (reports: readonly Report[]) => void>}
 */
const waiting = new Map();
let asked = 0;

/** @type {import('./serve.mjs').OneOfSeveral['join']} */
function join(report) {
  process.on('message', (/** @type {PrimaryWord} */ word) => {
    if (word.kind === 'report') {
      void report().then((own) => tell({ kind: 'report', ask: word.ask, report: own }));
    }
    if (word.kind === 'gathered') {
      waiting.get(word.ask)?.(word.reports);
      waiting.delete(word.ask);
    }
  });
  return () =>
    new Promise((resolve) => {
      const ask = (asked += 1);
      waiting.set(ask, resolve);
      tell({ kind: 'gather', ask });
    });
}

/** @type {WorkerOrder} */
const { worker, ...order } = JSON.parse(process.env['DEMO_WORKER'] ?? '{}');
try {
  const serving = await serveHere(
    { ...order, onStoreState: (_, state) => tell({ kind: 'store', state }) },
    { worker, join },
  );
  process.on('message', (/** @type {PrimaryWord} */ word) => {
    if (word.kind === 'end') void serving.close().then(() => process.exit(0));
  });
  tell({ kind: 'ready' });
} catch (error) {
  const message =
    error instanceof Problem ? error.message : String(/** @type {Error} */ (error).stack);
  process.send?.({ kind: 'failed', message }, () => process.exit(1));
}
