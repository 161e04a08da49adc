/**
 * `npm run soak -- --minutes 30` puts a process under steady load and random faults, one after another. It fails if the
 * process holds more memory, timers or sockets at the end than at the start.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ensurePackages } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '2000' },
  },
});
const [minutes, perSecond] = [values.minutes, values.rate].map(Number);
if (!(Number(minutes) > 0 && Number(perSecond) > 0)) {
  console.error('--minutes and --rate (decisions per second) must be numbers above 0.');
  process.exit(1);
}

ensurePackages();
ensureRedisServer();
await build();
// Imported only after the build.
const { growth, soak } = await import('../test/system/soak/soak.mjs');

const { samples, tally, exitMs, exitCode, keysWithoutTtl } = await soak({
  random: Math.random,
  minutes: Number(minutes),
  perSecond: Number(perSecond),
  report: (line) => console.log(line),
});
const faults = growth(samples);
if (exitCode !== 0) faults.push(`the process ended with code ${exitCode}`);
if (keysWithoutTtl > 0) faults.push(`${keysWithoutTtl} keys without a TTL`);
console.log(
  `${tally.issued} calls, ${tally.real} decided by Redis, ${tally.degraded} without it, the slowest after ` +
    `${tally.slowestMs.toFixed(0)} ms; ended by itself ${exitMs.toFixed(0)} ms after close().`,
);
for (const fault of faults) console.error(`FAILED ${fault}`);
console.log(faults.length === 0 ? 'Nothing grew.' : `${faults.length} checks failed.`);
process.exitCode = faults.length === 0 ? 0 : 1;
