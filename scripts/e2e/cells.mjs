/** The runtimes and tools in which the package is tried. */
import path from 'node:path';
import { frozen } from './frozen.mjs';
import { nextDev, nextRows } from './next.mjs';
import { WAYS, bundle, commandOf, program, runner } from './rows.mjs';

const DENO = ['run', '--allow-all', '--quiet', '--node-modules-dir=manual', 'main.mjs'];

/**
 * @param {string} name
 * @param {string} runtime
 * @param {readonly string[]} needs
 * @param {string} config
 */
function jest(name, runtime, needs, config) {
  return runner(
    name,
    ['jest', ...needs],
    ({ folder }) => [
      commandOf(runtime),
      path.join(folder, 'node_modules/jest/bin/jest.js'),
      '--runInBand',
      '--config',
      config,
    ],
    /Tests:\s+1 passed, 1 total/,
  );
}

/** @type {readonly import('./rows.mjs').Row[]} */
export const ROWS = [
  program('Node.js 20', '', ['main.mjs']),
  program('Node.js 20, `require`', '', ['main.cjs']),
  program('Node.js 22', 'node-22', ['main.mjs']),
  program('Node.js 24', 'node-24', ['main.mjs']),
  program('Node.js 26', 'node-26', ['main.mjs']),
  program('Bun 1.4', 'bun', ['run', 'main.mjs']),
  program('Deno 2.9', 'deno', DENO),
  program('workerd, by miniflare 4', 'node-22', ['workerd.mjs'], {
    needs: ['miniflare', 'esbuild'],
    refused: ['URL'],
  }),
  program("Vercel's edge-runtime 4", '', ['edge.mjs'], {
    needs: ['edge-runtime', 'esbuild'],
    refused: WAYS,
  }),
  frozen('frozen like a Lambda, its connections kept', { cut: false }),
  frozen('frozen like a Lambda, its connections cut', { cut: true }),
  jest('Jest 30, default mode, Node.js 20', '', [], 'jest.config.cjs'),
  jest('Jest 30, default mode, Node.js 22', 'node-22', [], 'jest.config.cjs'),
  jest('Jest 30, default mode, Node.js 24', 'node-24', [], 'jest.config.cjs'),
  jest('Jest 30, default mode, Node.js 26', 'node-26', [], 'jest.config.cjs'),
  jest('ts-jest 29', '', ['ts-jest', 'typescript@5.9.3', '@types/jest'], 'ts-jest/jest.config.cjs'),
  runner('vitest 4', ['vitest'], () => ['vitest', 'run'], /Tests\s+1 passed/),
  runner('`node --test`', [], () => [commandOf(''), '--test', 'node.test.mjs'], /pass 1\b/),
  bundle(
    'esbuild, to CommonJS',
    ['esbuild'],
    'esbuild main.mjs --bundle --platform=node --outfile=out/esbuild.cjs',
    'out/esbuild.cjs',
  ),
  bundle(
    'Rolldown',
    ['rolldown'],
    'rolldown main.mjs --platform node -d out/rolldown --entry-file-names main.mjs',
    'out/rolldown/main.mjs',
  ),
  bundle(
    'webpack 5',
    ['webpack', 'webpack-cli'],
    'webpack --mode production --target node20 --entry ./main.mjs -o ./out/webpack --output-filename main.cjs',
    'out/webpack/main.cjs',
  ),
  ...nextRows('Next.js 16, Turbopack', []),
  nextDev('Next.js 16, Turbopack', []),
  ...nextRows('Next.js 16, `--webpack`', ['--webpack']),
  nextDev('Next.js 16, `--webpack`', ['--webpack']),
];
