// @ts-check
/** The demo in its own process, as a user starts it. */
import path from 'node:path';
import process from 'node:process';
import { startCommand } from '../../kit/servers/command.mjs';

const script = path.join('scripts', 'demo.mjs');

/**
 * @typedef {object} Serving
 * @property {() => Promise<string>} origin waits until it serves and its proof is done
 *
 * @typedef {import('../../kit/servers/command.mjs').Running & Serving} RunningDemo
 */

/**
 * @param {string} flags
 * @param {Record<string, string>} [env]
 * @returns {RunningDemo}
 */
export function startDemo(flags, env) {
  const args = flags.split(' ').filter((flag) => flag !== '');
  const run = startCommand([process.execPath, script, '--port', '0', ...args], env);
  return {
    ...run,
    origin: async () => {
      await run.printed(/Ctrl-C ends it/);
      return (await run.printed(/http:\/\/127\.0\.0\.1:\d+/))[0];
    },
  };
}
