/** The demo's command line. Imports only Node modules: a bad flag is refused before anything is installed. */
import { parseArgs } from 'node:util';
import { Problem } from './problem.mjs';

const DEFAULT_PORT = 3000;
const MAX_WORKERS = 16;

/**
 * @typedef {object} DemoOptions
 * @property {number} port the first one that is tried; 0: any free one
 * @property {number} workers processes behind the port; 1: this process alone
 * @property {boolean} privateRedis start a redis-server for this run
 * @property {string | undefined} redisUrl a Redis that is there already; never together with `privateRedis`
 * @property {boolean} limits show limits together instead of the API
 * @property {boolean} once end after the proof, or after one round
 * @property {boolean} help
 */

export const USAGE = `Usage: npm run demo [-- flags]

  --redis        share the limits through a private redis-server, started for this run
  --workers N    N processes behind one port, 1 to ${MAX_WORKERS} (default 1); several need Redis
  --port N       the first port to try (default ${DEFAULT_PORT}); 0 takes any free one
  --limits       several limits at once and a reservation, instead of the API
  --once         end after the proof, or after one round
  --help

  REDIS_URL=redis://...   share the limits through a Redis that is there already`;

/**
 * @param {readonly string[]} args what follows the script's name
 * @param {Readonly<Record<string, string | undefined>>} env
 * @returns {DemoOptions}
 * @throws {Problem} with exit code 2, where what was asked for makes no sense
 */
export function readDemoOptions(args, env) {
  refuseFlagsOfNpm(env);
  const values = parse(args);
  const privateRedis = values.redis ?? false;
  const workers = readWhole('--workers', values.workers ?? '1', 1, MAX_WORKERS);
  const limits = values.limits ?? false;
  if (limits && (workers > 1 || values.port !== undefined) && values.help !== true) {
    throw new Problem('--limits serves nothing: it goes without --workers and --port.', 2);
  }
  const redisUrl = privateRedis ? undefined : env['REDIS_URL'] || undefined;
  if (workers > 1 && !privateRedis && redisUrl === undefined && values.help !== true) {
    throw new Problem(
      `${workers} workers cannot share limits that live in one process's memory: each would admit the whole limit.\n` +
        `Give them a Redis: npm run demo -- --workers ${workers} --redis, or set REDIS_URL.`,
      2,
    );
  }
  return {
    port: readWhole('--port', values.port ?? String(DEFAULT_PORT), 0, 65_535),
    workers,
    privateRedis,
    redisUrl,
    limits,
    once: values.once ?? false,
    help: values.help ?? false,
  };
}

/** @param {readonly string[]} args */
function parse(args) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        redis: { type: 'boolean' },
        workers: { type: 'string' },
        port: { type: 'string' },
        limits: { type: 'boolean' },
        once: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (positionals.length > 0) {
      throw new Problem(`Unexpected argument '${positionals[0]}'.`, 2);
    }
    return values;
  } catch (error) {
    if (error instanceof TypeError && 'code' in error) {
      // Node's message continues with how to escape the flag, which does not help here.
      throw new Problem(`${error.message.split(/\.\s/, 1)[0]?.replace(/\.$/, '')}.`, 2);
    }
    throw error;
  }
}

/**
 * Detects flags given without `--`: npm takes them as its own and passes none of them on.
 *
 * @param {Readonly<Record<string, string | undefined>>} env
 */
function refuseFlagsOfNpm(env) {
  const taken = ['redis', 'workers', 'port', 'limits', 'once'].filter(
    (name) => env['npm_lifecycle_event'] === 'demo' && env[`npm_config_${name}`] !== undefined,
  );
  if (taken.length > 0) {
    throw new Problem(
      `npm kept --${taken.join(' and --')} for itself. Flags go behind two dashes: npm run demo -- --${taken.join(' --')} ...`,
      2,
    );
  }
}

/**
 * @param {string} flag
 * @param {string} text
 * @param {number} min
 * @param {number} max
 */
function readWhole(flag, text, min, max) {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < min || number > max) {
    throw new Problem(`${flag} must be a whole number from ${min} to ${max}, got '${text}'.`, 2);
  }
  return number;
}
