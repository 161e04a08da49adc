/** How a row runs its program. */
import process from 'node:process';
import { installRuntime } from '../runtimes.mjs';

/** The ways to keep state: a URL, a client of ioredis, @upstash/redis over HTTP, and memory. */
export const WAYS = /** @type {const} */ (['URL', 'client', 'REST', 'memory']);

/** @typedef {(typeof WAYS)[number]} Way */
/** @typedef {import('../try/project.mjs').Project} Project */

/**
 * Where rows run.
 *
 * @typedef {object} Place
 * @property {Project} project
 * @property {{ port: number, url: string }} redis
 * @property {{ port: number, url: string, token: string }} rest
 */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {readonly string[]} needs packages beside the clients
 * @property {readonly Way[]} [refused] the ways that this runtime lacks
 * @property {boolean} [atOnce] its ways run at once, because they mostly wait
 * @property {(place: Place, way: Way) => Promise<string>} run what the four calls were answered
 */

/** What the calls of a cell are answered. */
export const EXPECTED = 'within_limit,within_limit,within_limit,limited';

/** What is said instead where a runtime lacks the way. */
export const UNSUPPORTED = 'ERR_RUNTIME_UNSUPPORTED';

/** @param {Pick<Row, 'refused'>} row @param {Way} way */
export function expectedOf({ refused = [] }, way) {
  return refused.includes(way) ? Array.from({ length: 4 }, () => UNSUPPORTED).join() : EXPECTED;
}

/**
 * @param {string} name
 * @param {string} runtime a folder of test/installs; empty for the Node of this process
 * @param {readonly string[]} args
 * @param {Pick<Row, 'needs' | 'refused'>} [more]
 * @returns {Row}
 */
export function program(name, runtime, args, more = { needs: [] }) {
  return {
    name,
    ...more,
    run: ({ project, rest }, way) =>
      printedBy(project, environment(rest, way), [commandOf(runtime), ...args, way]),
  };
}

/**
 * A test runner, whose test compares the outcomes by itself.
 *
 * @param {string} name
 * @param {readonly string[]} needs
 * @param {(project: Project) => readonly string[]} command
 * @param {RegExp} passed
 * @returns {Row}
 */
export function runner(name, needs, command, passed) {
  return {
    name,
    needs,
    run: async ({ project, rest }, way) => {
      const { code, output } = await project.run(command(project), {
        env: environment(rest, way),
      });
      return code === 0 && passed.test(output) ? EXPECTED : output.slice(-2_000);
    },
  };
}

/**
 * @param {string} name
 * @param {readonly string[]} needs
 * @param {string} build
 * @param {string} file
 * @returns {Row}
 */
export function bundle(name, needs, build, file) {
  /** @type {Promise<import('../try/project.mjs').Ended> | undefined} */
  let building;
  return {
    name,
    needs,
    run: async ({ project, rest }, way) => {
      building ??= project.run(build.split(' '));
      const { code, output } = await building;
      return code === 0
        ? printedBy(project, environment(rest, way), [process.execPath, file, way])
        : output.slice(-2_000);
    },
  };
}

/** @param {string} runtime a folder of test/installs; empty for the Node of this process */
export function commandOf(runtime) {
  const command = runtime === '' ? process.execPath : installRuntime(runtime);
  if (command === undefined) throw new Error(`npm has no ${runtime} for this platform`);
  return command;
}

/**
 * @param {Project} project
 * @param {Record<string, string>} env
 * @param {readonly string[]} command
 */
async function printedBy(project, env, command) {
  const { code, printed, output } = await project.run(command, { env, timeoutMs: 60_000 });
  return code === 0 ? printed.trim() : output.slice(-2_000);
}

let cells = 0;

/**
 * Each cell has keys of its own.
 *
 * @param {Place['rest']} rest
 * @param {Way} [way]
 * @returns {Record<string, string>}
 */
export function environment({ url, token }, way = 'URL') {
  cells += 1;
  return { WAY: way, NAMESPACE: `cell-${cells}`, REST_URL: url, REST_TOKEN: token };
}
