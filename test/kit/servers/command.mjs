// @ts-check
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { own } from './reaper.mjs';
import { waitUntil } from './wait-until.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * @typedef {object} Running
 * @property {number} pid
 * @property {() => string} output what it has printed so far, on either stream
 * @property {(text: RegExp) => Promise<RegExpExecArray>} printed waits until it has printed this, and returns the match
 * @property {(name: NodeJS.Signals) => void} signal
 * @property {Promise<number | null>} exitCode
 * @property {() => Promise<unknown>} close ends it at once, whatever it does
 */

/**
 * Starts a program as a user does: from the project's folder, in its own process. Only `env` says which Redis and which
 * port it takes.
 *
 * @param {readonly string[]} command
 * @param {Record<string, string>} [env]
 * @param {string} [cwd] another folder than the project's
 * @returns {Running}
 */
export function startCommand(command, env = {}, cwd = root) {
  const { REDIS_URL: _, PORT: __, ...inherited } = process.env;
  const [program = '', ...args] = command;
  const child = own(spawn(program, args, { cwd, env: { ...inherited, ...env }, stdio: 'pipe' }));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => (text += chunk));
  }
  let ended = false;
  // `close` comes after the last output, unlike `exit`.
  const exitCode = once(child, 'close').then(([code]) => {
    ended = true;
    return /** @type {number | null} */ (code);
  });
  return {
    pid: child.pid ?? 0,
    output: () => text,
    printed: async (wanted) => {
      try {
        const found = () => wanted.exec(text) ?? undefined;
        const giveUp = () => ended && found() === undefined;
        return /** @type {RegExpExecArray} */ (
          await waitUntil(String(wanted), found, { timeoutMs: 20_000, giveUp })
        );
      } catch (cause) {
        throw new Error(`${String(wanted)} is not in what it printed:\n${text}`, { cause });
      }
    },
    signal: (name) => void child.kill(name),
    exitCode,
    close: () => {
      child.kill('SIGKILL');
      return exitCode;
    },
  };
}
