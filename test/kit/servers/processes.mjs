// @ts-check
import { fork } from 'node:child_process';
import { own } from './reaper.mjs';

/**
 * @typedef {object} Worker
 * @property {number} pid
 * @property {Promise<any>} result what the worker's function returned; `undefined` after `kill()`
 * @property {() => void} kill ends it without notice, as a crash would; it then has no result, and that is no error
 */

/**
 * @typedef {object} WorkerOptions
 * @property {number} [timeoutMs] the longest time from the start to the last result (60 s)
 * @property {readonly string[]} [execArgv] options of Node itself, such as `--unhandled-rejections=strict`
 * @property {Readonly<Record<string, string>>} [env] more environment variables
 */

/**
 * Runs `file` in `count` Node processes at the same time, and returns the result of each.
 *
 * All of them prepare first; none goes on until the last is ready. When one fails, or time is up, all are ended and the
 * promise rejects. No process is left when the promise settles.
 *
 * @param {string | URL} file a module that calls `runAsWorker`
 * @param {number} count
 * @param {unknown} [data] handed to each of them; anything that can be cloned
 * @param {WorkerOptions} [options]
 * @returns {Promise<any[]>} in the order of the workers' `index`
 */
export async function runWorkers(file, count, data, options) {
  const group = startWorkers(file, count, data, options);
  return group.results;
}

/**
 * Like `runWorkers`, for a test that also acts on the workers.
 *
 * @param {string | URL} file
 * @param {number} count
 * @param {unknown} [data]
 * @param {WorkerOptions} [options]
 * @returns {{ workers: Worker[], going: Promise<void>, results: Promise<any[]> }} `going` resolves when the last one
 *   was ready and all were told to go on
 */
export function startWorkers(
  file,
  count,
  data,
  { timeoutMs = 60_000, execArgv = [], env = {} } = {},
) {
  /** @type {(value?: undefined) => void} */
  let allReady = () => {};
  /** @type {(error: unknown) => void} */
  let abort = () => {};
  const going = new Promise((resolve, reject) => {
    allReady = resolve;
    abort = reject;
  }).then(() => undefined);
  // A caller that awaits only the results must not get an unhandled rejection from `going`.
  going.catch(() => {});

  /** @type {(() => void)[]} */
  const goes = [];
  let waiting = count;
  const oneLess = () => {
    waiting -= 1;
    if (waiting > 0) return;
    for (const go of goes) go();
    allReady();
  };
  const exits = /** @type {Promise<void>[]} */ ([]);

  const workers = Array.from({ length: count }, (_, index) => {
    const child = own(
      fork(file, {
        execArgv: [...execArgv],
        env: { ...process.env, ...env },
        serialization: 'advanced',
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      }),
    );
    let killed = false;
    let passedBarrier = false;
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => (printed = (printed + text).slice(-4000)));
    }
    const passBarrier = () => {
      if (passedBarrier) return;
      passedBarrier = true;
      oneLess();
    };
    /** @type {Promise<any>} */
    const result = new Promise((resolve, reject) => {
      /** @param {string} why */
      const fail = (why) =>
        reject(new Error(`worker ${index}: ${why}${printed && `\n${printed}`}`));
      child.on('message', (/** @type {any} */ message) => {
        if (message.kind === 'ready') {
          goes.push(() => child.connected && child.send({ kind: 'go' }, () => {}));
          passBarrier();
        } else if (message.kind === 'result') {
          passBarrier();
          resolve(message.value);
        } else if (message.kind === 'error') {
          fail(message.text);
        }
      });
      child.once('error', (error) => fail(error.message));
      exits.push(
        new Promise((exited) => {
          child.once('exit', () => exited());
          child.once('error', () => exited());
        }),
      );
      // `close` comes after the last output, unlike `exit`.
      child.once('close', (code, signal) => {
        if (!killed) return fail(`ended with ${signal ?? `code ${code}`} and without a result`);
        passBarrier();
        resolve(undefined);
      });
      child.send({ kind: 'start', index, count, data }, () => {});
    });
    result.catch(() => {});
    return {
      pid: child.pid ?? 0,
      result,
      kill: () => {
        killed = true;
        child.kill('SIGKILL');
      },
    };
  });

  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`workers took longer than ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  const settle = async () => {
    try {
      return await Promise.race([Promise.all(workers.map((worker) => worker.result)), late]);
    } catch (error) {
      abort(error);
      throw error;
    } finally {
      clearTimeout(timer);
      for (const worker of workers) worker.kill();
      await Promise.all(exits);
    }
  };
  const results = settle();
  // The test may be busy with the workers when one fails, and learns of it when it awaits the results.
  results.catch(() => {});
  return { workers, going, results };
}

/**
 * The worker's side: call it once in the module that `runWorkers` runs. The process ends when `work` has returned.
 *
 * @template Data, Result
 * @param {(context: { index: number, count: number, data: Data, ready: () => Promise<void> }) => Result | Promise<Result>} work
 *   prepares (connects, warms up), awaits `ready()`, which resolves when all workers are there, does the work and
 *   returns its result, anything that can be cloned. For the others, the end of a `work` without `ready()` counts as
 *   readiness
 * @example
 * await runAsWorker(async ({ index, data, ready }) => {
 *   const limiter = new RateLimiter(data);
 *   await limiter.ready();
 *   await ready();
 *   return countAllowed(limiter);
 * });
 */
export async function runAsWorker(work) {
  if (!process.send) throw new Error('this module is to be run by runWorkers');
  // Without its parent no process receives the result.
  process.once('disconnect', () => process.exit(1));
  /** @type {() => void} */
  let go = () => {};
  const told = new Promise((resolve) => {
    go = () => resolve(undefined);
  });
  /** @type {{ index: number, count: number, data: Data }} */
  const { index, count, data } = await new Promise((resolve) => {
    process.on('message', (/** @type {any} */ message) => {
      if (message.kind === 'start') resolve(message);
      else if (message.kind === 'go') go();
    });
  });
  /** @param {unknown} message */
  const tell = (message) =>
    new Promise((resolve) => process.send?.(message, undefined, undefined, resolve));
  try {
    const value = await work({
      index,
      count,
      data,
      ready: async () => {
        await tell({ kind: 'ready' });
        await told;
      },
    });
    await tell({ kind: 'result', value });
    process.exit(0);
  } catch (error) {
    await tell({ kind: 'error', text: error instanceof Error ? error.stack : String(error) });
    process.exit(1);
  }
}
