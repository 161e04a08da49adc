// @ts-check
/** The demo as its user starts it, in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { own } from '../kit/reaper.mjs';
import { waitUntil } from '../kit/wait-until.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const script = path.join('scripts', 'demo.mjs');

/**
 * @typedef {object} Running
 * @property {number} pid
 * @property {() => string} output what it has printed so far, on either stream
 * @property {(text: RegExp) => Promise<RegExpExecArray>} printed waits until it has printed this, and returns the match
 * @property {() => Promise<string>} origin waits until it serves and its proof is done
 * @property {(name: NodeJS.Signals) => void} signal
 * @property {Promise<number | null>} exitCode
 * @property {() => Promise<unknown>} close ends it at once, whatever it does
 */

/**
 * @param {readonly string[]} command
 * @param {Record<string, string>} [env]
 * @returns {Running}
 */
export function startCommand(command, env = {}) {
  const { REDIS_URL: _, ...inherited } = process.env;
  const [program = '', ...args] = command;
  const child = own(
    spawn(program, args, { cwd: root, env: { ...inherited, ...env }, stdio: 'pipe' }),
  );
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => (text += chunk));
  }
  // `close` comes after the last output, unlike `exit`.
  const exitCode = once(child, 'close').then(([code]) => /** @type {number | null} */ (code));
  /** @type {Running['printed']} */
  const printed = async (wanted) => {
    try {
      const found = () => wanted.exec(text) ?? undefined;
      return /** @type {RegExpExecArray} */ (
        await waitUntil(String(wanted), found, { timeoutMs: 20_000 })
      );
    } catch (cause) {
      throw new Error(`${String(wanted)} is not in what it printed:\n${text}`, { cause });
    }
  };
  return {
    pid: child.pid ?? 0,
    output: () => text,
    printed,
    origin: async () => {
      await printed(/Ctrl-C ends it/);
      return (await printed(/http:\/\/127\.0\.0\.1:\d+/))[0];
    },
    signal: (name) => void child.kill(name),
    exitCode,
    close: () => {
      child.kill('SIGKILL');
      return exitCode;
    },
  };
}

/**
 * @param {string} flags
 * @param {Record<string, string>} [env]
 */
export function startDemo(flags, env) {
  const args = flags.split(' ').filter((flag) => flag !== '');
  return startCommand([process.execPath, script, '--port', '0', ...args], env);
}
