import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer } from 'vitest/node';
import type { TestSpecification } from 'vitest/node';

const manifest: { name: string; exports: Record<string, string | { default: string }> } =
  JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

/** The package's own name means its sources, so that a test and the README's snippets share one copy of each class. */
const sources = Object.entries(manifest.exports).flatMap(([subpath, target]) => {
  if (typeof target === 'string') return [];
  const source = target.default.replace('./dist/', './src/').replace(/\.js$/, '.ts');
  const find = new RegExp(`^${manifest.name}${subpath.slice(1)}$`);
  return [{ find, replacement: fileURLToPath(new URL(source, import.meta.url)) }];
});

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
    include: ['test/**/*.test.ts'],
    typecheck: {
      enabled: true,
      include: ['test/unit/types/**/*.test-d.ts'],
      tsconfig: './tsconfig.json',
      // Errors elsewhere are those of the check `typecheck`; here they would fail even a run of one test.
      ignoreSourceErrors: true,
    },
    pool: 'forks',
    // More workers than cores would make the deadlines of fault tests a matter of luck.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongestFirst },
  },
});
