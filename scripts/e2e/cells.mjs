/** The runtimes and tools in which the package is tried, and how each runs a program of the project. */
import path from 'node:path';
import process from 'node:process';
import { installRuntime } from '../runtimes.mjs';

/** The ways to keep state: a URL, a client of ioredis, @upstash/redis over HTTP, and memory. */
export const WAYS = /** @type {const} */ (['URL', 'client', 'REST', 'memory']);

/** @typedef {(typeof WAYS)[number]} Way */
/** @typedef {import('../try/project.mjs').Project} Project */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {(project: Project, way: Way) => Promise<string>} run what the program printed
 */

const DENO = ['run', '--allow-all', '--quiet', '--node-modules-dir=manual'];

/**
 * @param {string} name
 * @param {string} runtime a folder of test/installs; empty for the Node of this process
 * @param {readonly string[]} args
 * @returns {Row}
 */
function program(name, runtime, ...args) {
  return {
    name,
    run: async (project, way) => {
      const command = runtime === '' ? process.execPath : installRuntime(runtime);
      if (command === undefined) throw new Error(`npm has no ${runtime} for this platform`);
      return printedBy(project, way, [command, ...args, way]);
    },
  };
}

/**
 * A test runner, whose test compares the outcomes by itself.
 *
 * @param {string} name
 * @param {(project: Project) => readonly string[]} command
 * @param {RegExp} passed
 * @returns {Row}
 */
function runner(name, command, passed) {
  return {
    name,
    run: async (project, way) => {
      const { code, output } = await project.run(command(project), { env: environment(way) });
      return code === 0 && passed.test(output) ? EXPECTED : output.slice(-2_000);
    },
  };
}

/**
 * @param {string} name
 * @param {string} build
 * @param {string} file
 * @returns {Row}
 */
function bundle(name, build, file) {
  /** @type {WeakMap<Project, Promise<import('../try/project.mjs').Ended>>} */
  const built = new WeakMap();
  return {
    name,
    run: async (project, way) => {
      const building = built.get(project) ?? project.run(build.split(' '));
      built.set(project, building);
      const { code, output } = await building;
      return code === 0
        ? printedBy(project, way, [process.execPath, file, way])
        : output.slice(-2_000);
    },
  };
}

/**
 * @param {Project} project
 * @param {Way} way
 * @param {readonly string[]} command
 */
async function printedBy(project, way, command) {
  const { code, printed, output } = await project.run(command, {
    env: environment(way),
    timeoutMs: 60_000,
  });
  return code === 0 ? printed.trim() : output.slice(-2_000);
}

let cells = 0;

/**
 * Each cell has keys of its own.
 *
 * @param {Way} way
 */
function environment(way) {
  cells += 1;
  return { WAY: way, NAMESPACE: `cell-${cells}` };
}

/** What each program prints. */
export const EXPECTED = 'within_limit,within_limit,within_limit,limited';

/** @param {Project} project */
const jest = ({ folder }) => [
  process.execPath,
  path.join(folder, 'node_modules/jest/bin/jest.js'),
  '--runInBand',
  'jest.test.cjs',
];

/** @type {readonly Row[]} */
export const ROWS = [
  program('Node.js 20', '', 'main.mjs'),
  program('Node.js 20, `require`', '', 'main.cjs'),
  program('Node.js 22', 'node-22', 'main.mjs'),
  program('Node.js 24', 'node-24', 'main.mjs'),
  program('Node.js 26', 'node-26', 'main.mjs'),
  program('Bun 1.4', 'bun', 'run', 'main.mjs'),
  program('Deno 2.9', 'deno', ...DENO, 'main.mjs'),
  runner('Jest 30, default mode', jest, /Tests:\s+1 passed/),
  runner('vitest 4', () => ['vitest', 'run'], /Tests\s+1 passed/),
  runner('`node --test`', () => [process.execPath, '--test', 'node.test.mjs'], /pass 1\b/),
  bundle(
    'esbuild, to CommonJS',
    'esbuild main.mjs --bundle --platform=node --outfile=out/esbuild.cjs',
    'out/esbuild.cjs',
  ),
  bundle(
    'Rolldown',
    'rolldown main.mjs --platform node -d out/rolldown --entry-file-names main.mjs',
    'out/rolldown/main.mjs',
  ),
  bundle(
    'webpack 5',
    'webpack --mode production --target node20 --entry ./main.mjs -o ./out/webpack --output-filename main.cjs',
    'out/webpack/main.cjs',
  ),
  {
    name: 'Next.js 16, Turbopack',
    run: async (project, way) => (await fetch(`${await nextUrl(project)}/api/${way}`)).text(),
  },
];

/** @type {WeakMap<Project, Promise<string>>} */
const servers = new WeakMap();

/**
 * The address of the project's Next.js, built and started once.
 *
 * @param {Project} project
 */
function nextUrl(project) {
  const known = servers.get(project) ?? startNext(project);
  servers.set(project, known);
  return known;
}

/** @param {Project} project */
async function startNext(project) {
  const env = { NEXT_TELEMETRY_DISABLED: '1', NAMESPACE: 'next' };
  const { code, output } = await project.run(['next', 'build'], { env });
  if (code !== 0) throw new Error(output.slice(-3_000));
  const running = project.start(['next', 'start', '--port', '0', '--hostname', '127.0.0.1'], env);
  const [url = ''] = await running.printed(/http:\/\/127\.0\.0\.1:[1-9]\d*/);
  await running.printed(/Ready/);
  return url;
}
