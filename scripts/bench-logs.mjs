/**
 * `npm run bench:logs` pipes a log of ten million lines, made on the fly, into `suggest` and `replay`. It prints their
 * time and the most memory that they had. `-- --lines 1000000 --callers 100000 --heap 256` are its defaults but for
 * the lines; a command that needs a greater JavaScript heap, in MiB, dies.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ensurePackages } from './bootstrap.mjs';
import { build } from './build.mjs';

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '10000000' },
    callers: { type: 'string', default: '100000' },
    heap: { type: 'string', default: '256' },
  },
});
const [lines = 0, callers = 0, heapMib = 0] = [values.lines, values.callers, values.heap].map(
  (each) => (/^\d{1,12}$/.test(each) ? Number(each) : 0),
);
if (lines < 1 || callers < 1 || heapMib < 1) {
  console.error('--lines, --callers and --heap (MiB) must be whole numbers above 0.');
  process.exit(1);
}

ensurePackages();
await build();
// Imported only after the build.
const { measureLongLog } = await import('../test/system/cli/long-log.mjs');

for (const argv of [
  ['suggest', '-', '-q'],
  ['replay', '-', '-q', '--limit', '60/1m'],
]) {
  const { exitCode, seconds, peakMib, stdout, stderr } = await measureLongLog(argv, {
    lines,
    callers,
    heapMib,
  });
  if (exitCode !== 0) {
    console.error(`FAILED ${argv.join(' ')}: exit code ${exitCode}\n${stderr.slice(-2_000)}`);
    process.exitCode = 1;
    continue;
  }
  const perSecond = Math.round(lines / seconds).toLocaleString('en-US');
  console.log(stdout.split('\n', 1)[0]);
  console.log(
    `  ${argv[0]}: ${seconds.toFixed(1)} s, ${perSecond} lines a second, ${peakMib.toFixed(0)} MiB at most`,
  );
}
