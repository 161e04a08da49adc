// @ts-check
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { own } from '../test/kit/servers/reaper.mjs';

/**
 * A child process, so that its processor time and its compiled code are measured apart. It lives for the whole run.
 *
 * @typedef {object} Child
 * @property {(request: object) => Promise<any>} ask one at a time
 * @property {() => Promise<void>} close lets it end by itself, so that a profile of it is written
 */

/**
 * @param {string | URL} file a module that calls `serve`
 * @param {string} name for messages
 * @returns {Child}
 */
export function startChild(file, name) {
  const child = own(fork(file, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }));
  const ended = new Promise((_, reject) => {
    child.once('exit', (code, signal) =>
      reject(new Error(`${name} ended with ${signal ?? `code ${code}`}`)),
    );
  });
  ended.catch(() => {});
  return {
    async ask(request) {
      const answer = once(child, 'message');
      child.send(request);
      const [{ value, error }] = await Promise.race([answer, ended]);
      if (error !== undefined) throw new Error(`${name}: ${error}`);
      return value;
    },
    async close() {
      child.disconnect();
      await ended.catch(() => {});
    },
  };
}

/**
 * The child's side: answers each request until the parent disconnects.
 *
 * @param {(request: any) => Promise<unknown>} answer
 */
export function serve(answer) {
  process.once('disconnect', () => process.exit(0));
  process.on('message', (request) => {
    answer(request).then(
      (value) => process.send?.({ value }),
      (/** @type {unknown} */ error) =>
        process.send?.({ error: error instanceof Error ? error.stack : String(error) }),
    );
  });
}
