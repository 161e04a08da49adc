/** The API in several processes behind one port, by node:cluster: this process accepts, the workers take turns. */
import cluster from 'node:cluster';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Problem } from './problem.mjs';

/** A worker is killed this long after it was told to end. */
const PATIENCE_MS = 2_000;
/** A worker that has not reported after this long is left out, so that a stopped worker does not stop the page. */
const REPORT_MS = 1_000;

/** @typedef {import('./worker.mjs').WorkerWord} WorkerWord */
/** @typedef {import('./worker.mjs').PrimaryWord} PrimaryWord */
/** @typedef {import('./figures.mjs').Report} Report */

/**
 * @param {import('./serve.mjs').Serving} serving
 * @param {number} count
 * @param {(tell: (saving: import('./limits.mjs').Saving) => void) => import('./controls.mjs').Controls} open the
 *   controls of the page, which tell all workers of a switch
 * @param {(worker: number, replaced: boolean) => void} onLost a worker ended unasked, and another took its number or could not
 * @returns {Promise<import('./serve.mjs').Served>}
 * @throws {Problem} when one of them cannot serve; none is left then
 */
export async function serveFromWorkers({ onStoreState, ...order }, count, open, onLost) {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({ exec: fileURLToPath(new URL('worker.mjs', import.meta.url)), args: [] });
  /** @type {Map<number, import('node:cluster').Worker>} */
  const running = new Map();
  /** Workers that can answer, by number. @type {Map<number, import('node:cluster').Worker>} */
  const serving = new Map();
  const gathered = reportsOf(serving);
  const controls = open((saving) => {
    for (const worker of running.values()) tell(worker, { kind: 'saving', saving });
  });
  let closing = false;

  /** @type {(question: import('./worker.mjs').Question) => Promise<unknown>} */
  async function answerTo(question) {
    if (question.deed !== undefined) return controls.act(question.deed);
    const reports = await gathered.gather();
    return { ...controls.setting(), reports };
  }

  /** @param {number} number */
  async function start(number) {
    /** @type {import('./worker.mjs').WorkerOrder} */
    const orders = { ...order, worker: number };
    const worker = cluster.fork({ DEMO_WORKER: JSON.stringify(orders) });
    running.set(number, worker);
    await new Promise((resolve, reject) => {
      worker.on('message', (/** @type {WorkerWord} */ word) => {
        if (word.kind === 'store' && !closing) onStoreState(number, word.state);
        if (word.kind === 'ready') {
          serving.set(number, worker);
          // It may have been switched since this one was told to start.
          tell(worker, { kind: 'saving', saving: controls.setting().saving });
          resolve(undefined);
        }
        if (word.kind === 'failed') reject(new Problem(word.message));
        if (word.kind === 'report') gathered.note(number, word.ask, word.report);
        if (word.kind === 'question') {
          const { ask } = word;
          void answerTo(word.question).then((answer) =>
            tell(worker, { kind: 'answer', ask, answer }),
          );
        }
      });
      worker.once('exit', (code, signal) => {
        running.delete(number);
        serving.delete(number);
        gathered.noteEnd(number);
        reject(new Problem(`Worker ${number} ended with ${signal ?? `code ${code}`}.`));
      });
    });
    worker.once('exit', () => {
      if (closing) return;
      // What the worker knew of Redis's state is gone with it.
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

/**
 * Asks all workers for their reports.
 *
 * @param {ReadonlyMap<number, import('node:cluster').Worker>} workers by their numbers
 */
function reportsOf(workers) {
  /**
   * By question: called with each answer, and with each worker that ends without an answer.
   *
   * @type {Map<number, (worker: number, report?: Report) => void>}
   */
  const open = new Map();
  let asked = 0;
  return {
    /** @returns {Promise<readonly Report[]>} in the order of the workers' numbers */
    gather: async () => {
      const ask = (asked += 1);
      const missing = new Set(workers.keys());
      /** @type {Report[]} */
      const reports = [];
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, REPORT_MS);
        open.set(ask, (number, report) => {
          if (!missing.delete(number)) return;
          if (report !== undefined) reports.push(report);
          if (missing.size > 0) return;
          clearTimeout(timer);
          resolve(undefined);
        });
        for (const worker of workers.values()) tell(worker, { kind: 'report', ask });
      });
      open.delete(ask);
      return reports.toSorted((a, b) => a.figures.worker - b.figures.worker);
    },
    /** @type {(worker: number, ask: number, report: Report) => void} */
    note: (worker, ask, report) => open.get(ask)?.(worker, report),
    /** @type {(worker: number) => void} */
    noteEnd: (worker) => {
      for (const answer of open.values()) answer(worker);
    },
  };
}

/**
 * Sends nothing to a worker that is about to end.
 *
 * @param {import('node:cluster').Worker} worker
 * @param {PrimaryWord} word
 */
function tell(worker, word) {
  if (worker.isConnected()) worker.send(word, () => {});
}

/** @param {import('node:cluster').Worker} worker */
async function end(worker) {
  if (worker.isDead()) return;
  const ended = once(worker, 'exit');
  tell(worker, { kind: 'end' });
  const timer = setTimeout(() => worker.process.kill('SIGKILL'), PATIENCE_MS);
  await ended;
  clearTimeout(timer);
}
