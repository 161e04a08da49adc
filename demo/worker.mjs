/** One of several processes behind the port; workers.mjs starts it. */
import process from 'node:process';
import { Problem } from './problem.mjs';
import { serveHere } from './serve.mjs';

/**
 * @typedef {Omit<import('./serve.mjs').Serving, 'onStoreState'> & { worker: number }} WorkerOrder
 * @typedef {{ kind: 'ready' } | { kind: 'failed', message: string } | { kind: 'store', state: import('./serve.mjs').StoreState }} WorkerWord
 */

// Ctrl-C reaches the whole group of processes; when this one ends is its parent's decision.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

/** @param {WorkerWord} word */
function tell(word) {
  if (process.connected) process.send?.(word);
}

/** @type {WorkerOrder} */
const { worker, ...order } = JSON.parse(process.env['DEMO_WORKER'] ?? '{}');
try {
  const serving = await serveHere(
    { ...order, onStoreState: (_, state) => tell({ kind: 'store', state }) },
    worker,
  );
  // The only message that ever comes says that it is over.
  process.once('message', () => {
    void serving.close().then(() => process.exit(0));
  });
  tell({ kind: 'ready' });
} catch (error) {
  const message =
    error instanceof Problem ? error.message : String(/** @type {Error} */ (error).stack);
  process.send?.({ kind: 'failed', message }, () => process.exit(1));
}
