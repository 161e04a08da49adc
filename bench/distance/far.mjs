// @ts-check
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { startChild } from '../child.mjs';

/**
 * What lies between clients and a server.
 *
 * @typedef {object} Far
 * @property {string} name of what delays, for the page
 * @property {number} port where clients connect
 * @property {(ms: number) => Promise<void>} add to each trip there and back, from now on
 * @property {() => Promise<void>} close
 */

/** Set in the process that runs inside of the namespace. */
const INSIDE = 'DRL_BENCH_NAMESPACE';
export const isInNamespace = process.env[INSIDE] === '1';

/** The loopback of a namespace is down at first. Each packet on it is delayed, so a trip there and back is delayed twice. */
const UP = 'ip link set lo up && tc qdisc replace dev lo root netem delay 1ms';

/**
 * Runs this command again in a network namespace of its own, which ends with it. Only its own loopback is delayed.
 *
 * @param {readonly string[]} args
 * @returns {string | undefined} why there can be none; undefined once the command has run
 */
export function runInNamespace(args) {
  if (process.platform !== 'linux') return 'only Linux has it';
  // Root needs no namespace of users, which some systems forbid.
  const own = process.getuid?.() === 0 ? ['--net'] : ['--net', '--user', '--map-root-user'];
  const tried = spawnSync('unshare', [...own, 'sh', '-c', UP], { encoding: 'utf8' });
  if (tried.error) return tried.error.message;
  if (tried.status !== 0) {
    return tried.stderr.trim().split('\n').at(-1)?.replace(/\.$/, '') || `exit ${tried.status}`;
  }
  const again = [process.execPath, fileURLToPath(new URL('../distance.mjs', import.meta.url))];
  const { status } = spawnSync(
    'unshare',
    [...own, 'sh', '-c', `${UP} && exec "$@"`, 'sh', ...again, ...args],
    {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: '1' },
    },
  );
  process.exitCode = status ?? 1;
  return undefined;
}

/** @param {number} port @returns {Promise<Far>} */
export async function openNetem(port) {
  return {
    name: '`tc netem`',
    port,
    add: async (ms) => {
      const delay = ['netem', 'delay', `${500 * ms}us`, 'limit', '100000'];
      const { status, stderr } = spawnSync(
        'tc',
        ['qdisc', 'replace', 'dev', 'lo', 'root', ...delay],
        {
          encoding: 'utf8',
        },
      );
      if (status !== 0) throw new Error(`tc: ${stderr}`);
    },
    close: async () => {},
  };
}

/** @param {number} port @returns {Promise<Far>} */
export async function openRelay(port) {
  const relay = startChild(new URL('relay.mjs', import.meta.url), 'relay');
  return {
    name: 'a relay',
    port: await relay.ask({ kind: 'open', port }),
    add: (ms) => relay.ask({ kind: 'add', ms }),
    close: () => relay.close(),
  };
}
