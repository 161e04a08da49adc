/** The groups of vitest.config.ts that each level runs; `all` runs every group. */
const LEVELS = { unit: ['unit'], default: ['unit', 'redis-server', 'docs'], all: [] };

/** The part of the cases of long random tests that each level runs. */
const SHARES = { unit: '0.1', default: '0.5', all: '1' };

/** Options of vitest that take the next argument as their value; a value after `=` needs no entry. */
const WITH_VALUE = new Set([
  '-c',
  '--config',
  '-r',
  '--root',
  '--dir',
  '-t',
  '--testNamePattern',
  '--reporter',
  '--outputFile',
  '--project',
  '--pool',
  '--environment',
  '--shard',
  '--bail',
  '--retry',
  '--maxWorkers',
  '--maxConcurrency',
  '--testTimeout',
  '--hookTimeout',
  '--teardownTimeout',
  '--slowTestThreshold',
  '--exclude',
  '--mode',
]);

/**
 * Translates the arguments of `npm test` into vitest's, and tells the share of long random tests. Without files the
 * level's groups run. Files or `--project` choose among all groups, and run all cases.
 *
 * @param {readonly string[]} given
 * @returns {{ args: string[], share: string }}
 */
export function vitestArguments(given) {
  const args = given.filter((argument) => argument !== '--all' && argument !== '--unit');
  const files = args.filter(
    (argument, i) => !argument.startsWith('-') && !WITH_VALUE.has(args[i - 1] ?? ''),
  );
  const chosen = files.length > 0 || args.some((argument) => /^--project(?:=|$)/.test(argument));
  const level =
    given.includes('--all') || chosen ? 'all' : given.includes('--unit') ? 'unit' : 'default';
  return {
    args: [...LEVELS[level].map((group) => `--project=${group}`), ...args],
    share: chosen && given.includes('--unit') ? SHARES.unit : SHARES[level],
  };
}
