/** The groups of vitest.config.ts that each level runs; `all` runs every group. */
const LEVELS = { unit: ['unit'], default: ['unit', 'redis-server', 'docs'], all: [] };

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
 * Translates the arguments of `npm test` into vitest's. Without files it runs the level's groups. Files or `--project`
 * choose among all groups.
 *
 * @param {readonly string[]} given
 * @returns {string[]}
 */
export function vitestArguments(given) {
  const args = given.filter((argument) => argument !== '--all' && argument !== '--unit');
  const files = args.filter(
    (argument, i) => !argument.startsWith('-') && !WITH_VALUE.has(args[i - 1] ?? ''),
  );
  const chosen = files.length > 0 || args.some((argument) => /^--project(?:=|$)/.test(argument));
  const level =
    given.includes('--all') || chosen ? 'all' : given.includes('--unit') ? 'unit' : 'default';
  return [...LEVELS[level].map((group) => `--project=${group}`), ...args];
}
