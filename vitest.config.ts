import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer } from 'vitest/node';
import type { TestSpecification } from 'vitest/node';
import { CLIENT_TESTS } from './test/kit/setup/client-tests.ts';

const manifest: { name: string; exports: Record<string, string | { default: string }> } =
  JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

/** The package's own name means its sources, so that a test and the README's snippets share one copy of each class. */
const sources = Object.entries(manifest.exports).flatMap(([subpath, target]) => {
  if (typeof target === 'string') return [];
  const source = target.default.replace('./dist/', './src/').replace(/\.js$/, '.ts');
  const find = new RegExp(`^${manifest.name}${subpath.slice(1)}$`);
  return [{ find, replacement: fileURLToPath(new URL(source, import.meta.url)) }];
});

/**
 * Each group of tests and what is made ready before its first test, if any of its files run. scripts/test.mjs says
 * which groups make a level. test/unit/levels.test.ts compares the groups with what the files import.
 */
const groups = [
  // A thread starts faster than a process. Tests that start servers and processes run in processes of their own.
  { name: 'unit', include: ['test/unit/**/*.test.ts'], setup: [], pool: 'threads' },
  {
    name: 'redis-server',
    include: ['test/redis-server/**/*.test.ts'],
    exclude: [...CLIENT_TESTS],
    setup: ['redis-server', 'build'],
  },
  { name: 'clients', include: [...CLIENT_TESTS], setup: ['redis-server', 'build', 'clients'] },
  { name: 'docs', include: ['test/docs/**/*.test.ts'], setup: ['redis-server', 'build'] },
  {
    name: 'system',
    include: ['test/{system,compatibility,package}/**/*.test.ts'],
    setup: ['redis-server', 'build', 'clients', 'site'],
  },
];

/** Tests over many processes or random steps take longest; begun last, each would run beside an idle worker. */
const long = /\/test\/(?:system|compatibility|package|redis-server)\//;

function isLong(file: TestSpecification): boolean {
  return long.test(file.moduleId);
}

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  resolve: { alias: sources },
  test: {
    // More workers than cores would make the deadlines of fault tests a matter of luck.
    maxWorkers: 2,
    // Only a hang takes this long: the slowest tests take 10 s of an idle processor, and a busy one may give them a tenth.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      ...groups.map(({ name, include, exclude = [], setup, pool = 'forks' }) => ({
        extends: true as const,
        test: {
          name,
          include,
          exclude,
          pool,
          setupFiles: ['test/kit/setup/quiet-warnings.ts'],
          globalSetup: setup.map((step) => `test/kit/setup/${step}.ts`),
        },
      })),
      {
        extends: true,
        test: {
          name: 'types',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ['test/unit/types/**/*.test-d.ts'],
            tsconfig: './tsconfig.json',
            // Errors elsewhere are those of the check `typecheck`; here they would fail even a run of one test.
            ignoreSourceErrors: true,
          },
        },
      },
    ],
  },
});
