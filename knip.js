import { readFileSync } from 'node:fs';

const { bin, exports } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

/** @param {string} file */
const sourceOf = (file) => file.replace('./dist/', 'src/').replace(/\.js$/, '.ts');

/** The published entries as sources. */
const published = Object.values(exports)
  .filter((target) => typeof target !== 'string')
  .map((target) => sourceOf(target.default));

/** What the package installs as commands, as sources. */
const commands = Object.values(bin).map((file) => sourceOf(`./${file}`));

/** @type {import('knip').KnipConfig} */
export default {
  // The test kit is made to be copied, so what it offers is more than what these tests use.
  entry: [
    ...published,
    ...commands,
    'src/base/edge-runtime.ts',
    'scripts/*.mjs',
    'demo/main.mjs',
    'demo/page/main.js',
    'examples/*.mjs',
    'examples/llm/*.mjs',
    'test/kit/servers/index.mjs',
    'test/**/*.test.ts',
    'test/unit/types/**/*.test-d.ts',
    'test/kit/setup/*.ts',
    // What the components of the playground import, which are read by Vue alone.
    'site/playground/{engine/worker,engine/scale,model/*,vite}.ts',
  ],
  project: [
    'src/**/*.ts',
    'test/**/*.{ts,mjs}',
    'scripts/**/*.mjs',
    'demo/**/*.{mjs,js}',
    'examples/**/*.mjs',
    'site/playground/model/*.ts',
    // Their frameworks are in test/installs.
    '!examples/recipes/**',
  ],
  // Commands of scripts/check.mjs; `@upstash/redis`, which is in test/installs, and `vue`, which is in site.
  ignoreDependencies: ['@arethetypeswrong/cli', 'publint', '@upstash/redis', 'vue'],
  ignoreBinaries: ['apt-cache', 'nutcracker', 'openssl'],
  // Fastify's own documents register a plugin by `import()`, which takes the default export.
  ignoreIssues: { 'src/http/adapters/fastify.ts': ['duplicates'] },
};
