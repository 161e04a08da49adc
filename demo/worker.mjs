/** One of several processes behind the port; workers.mjs starts it. */
import process from 'node:process';
import { Problem } from './problem.mjs';
import { serveHere } from './serve.mjs';

/**
 * @typedef {import('./figures.mjs').Report} Report
 * @typedef {Omit<import('./serve.mjs').Serving, 'onStoreState'> & { worker: number }} WorkerOrder
 * @typedef {{ kind: 'ready' } | { kind: 'failed', message: string } | { kind: 'store', state: import('./serve.mjs').StoreState } | { kind: 'question', ask: number, question: Question } | { kind: 'report', ask: number, report: Report }} WorkerWord
 * @typedef {{ kind: 'end' } | { kind: 'report', ask: number } | { kind: 'saving', saving: import('./limits.mjs').Saving } | { kind: 'answer', ask: number, answer: unknown }} PrimaryWord
 * @typedef {{ deed?: import('./controls.mjs').Deed }} Question without a deed: how all are
 */

// Ctrl-C reaches the whole group of processes; the parent decides when this one ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

/** @param {WorkerWord} word */
function tell(word) {
  if (process.connected) process.send?.(word);
}

/** Questions still open, by number. @type {Map<number, (answer: unknown) => void>} */
const waiting = new Map();
let asked = 0;

/** @param {Question} question @returns {Promise<any>} */
function askPrimary(question) {
  return new Promise((resolve) => {
    const ask = (asked += 1);
    waiting.set(ask, resolve);
    tell({ kind: 'question', ask, question });
  });
}

/** @type {import('./serve.mjs').OneOfSeveral['join']} */
function join({ report, use }) {
  process.on('message', (/** @type {PrimaryWord} */ word) => {
    if (word.kind === 'report') {
      void report().then((own) => tell({ kind: 'report', ask: word.ask, report: own }));
    }
    if (word.kind === 'saving') void use(word.saving);
    if (word.kind === 'answer') {
      waiting.get(word.ask)?.(word.answer);
      waiting.delete(word.ask);
    }
  });
  return { look: () => askPrimary({}), act: (deed) => askPrimary({ deed }) };
}

/** @type {WorkerOrder} */
const { worker, ...order } = JSON.parse(process.env['DEMO_WORKER'] ?? '{}');
try {
  const serving = await serveHere(
    { ...order, onStoreState: (_, state) => tell({ kind: 'store', state }) },
    { worker, alone: false, join },
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
