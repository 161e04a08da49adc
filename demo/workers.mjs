/** The API in several processes behind one port, by node:cluster: this process accepts, the workers take turns. */
import cluster from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Problem } from './problem.mjs';

/** A worker that has not ended by itself this long after it was told to, is ended. */
const PATIENCE_MS = 2_000;

/** @typedef {import('./worker.mjs').WorkerWord} WorkerWord */

/**
 * @param {import('./serve.mjs').Serving} serving
 * @param {number} count
 * @param {(worker: number, replaced: boolean) => void} onLost a worker ended unasked, and another took its number or could not
 * @returns {Promise<import('./serve.mjs').Served>}
 * @throws {Problem} when one of them cannot serve; none is left then
 */
export async function serveFromWorkers({ onStoreState, ...order }, count, onLost) {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ exec: fileURLToPath(new URL('worker.mjs', import.meta.url)), args: [] });
  /** @type {Map<number, import('node:cluster').Worker>} */
  const running = new Map();
  let closing = false;

  /** @param {number} number */
  async function start(number) {
    /** @type {import('./worker.mjs').WorkerOrder} */
    const orders = { ...order, worker: number };
    const worker = cluster.fork({ DEMO_WORKER: JSON.stringify(orders) });
    running.set(number, worker);
    await new Promise((resolve, reject) => {
      worker.on('message', (/** @type {WorkerWord} */ word) => {
        if (word.kind === 'store' && !closing) onStoreState(number, word.state);
        if (word.kind === 'ready') resolve(undefined);
        if (word.kind === 'failed') reject(new Problem(word.message));
      });
      worker.once('exit', (code, signal) => {
        running.delete(number);
        reject(new Problem(`Worker ${number} ended with ${signal ?? `code ${code}`}.`));
      });
    });
    worker.once('exit', () => {
      if (closing) return;
      // What it knew of Redis went with it.
      onStoreState(number, 'ready');
      start(number).then(
        () => onLost(number, true),
        () => closing || onLost(number, false),
      );
    });
  }

  async function close() {
    closing = true;
    await Promise.all([...running.values()].map(end));
  }

  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  const starts = numbers.map(start);
  try {
    await Promise.all(starts);
  } catch (error) {
    await close();
    await Promise.allSettled(starts);
    throw error;
  }
  return {
    pids: () => numbers.map((number) => running.get(number)?.process.pid ?? 0),
    close,
  };
}

/** @param {import('node:cluster').Worker} worker */
async function end(worker) {
  if (worker.isDead()) return;
  const ended = once(worker, 'exit');
  if (worker.isConnected()) worker.send('end', () => {});
  const timer = setTimeout(() => worker.process.kill('SIGKILL'), PATIENCE_MS);
  await ended;
  clearTimeout(timer);
}
