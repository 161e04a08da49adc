// @ts-check
/**
 * Measures what telemetry costs this process, in microseconds of processor time per decision: `npm run bench --
 * telemetry`.
 *
 * Each row is a process of its own. All of them take turns in every round, in both directions. The results are the
 * median over the rounds, and the median of each round's ratios.
 */
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ensurePackages } from '../scripts/bootstrap.mjs';
import { build } from '../scripts/build.mjs';
import { ensureRedisServer } from '../scripts/redis-server.mjs';
import { startRedis } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { align, median } from './report.mjs';

const HELP = `npm run bench -- telemetry [options]
  --rounds N     (15)
  --ms N         length of each turn; shorter than 1000 ms it is scraped more often than once per second (1000)
  --redis        through ioredis on a real Redis; otherwise a client that answers at once, so that nothing hides a cost
  --also DIR     another build (its dist folder) with nothing on, such as one from before there were counters; may be
                 given again
  --no-build     measures dist as it is`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string' },
    ms: { type: 'string' },
    redis: { type: 'boolean', default: false },
    also: { type: 'string', multiple: true, default: [] },
    'no-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
const rounds = count('rounds', 15);
const ms = count('ms', 1_000);

ensurePackages();
if (!options['no-build']) await build();
if (options.redis) ensureRedisServer();

/** The modes of telemetry.worker.mjs, each with the mode that it adds something to. */
const MODES = [
  { mode: 'nothing on', against: 'nothing on' },
  // Two equal modes: their ratio shows the noise of this machine.
  { mode: 'nothing on', name: 'nothing on, again', against: 'nothing on' },
  { mode: 'channels subscribed', against: 'nothing on' },
  { mode: 'Prometheus', against: 'nothing on' },
  { mode: 'OpenTelemetry metrics', against: 'nothing on' },
  { mode: 'callers in spans', against: 'nothing on' },
  { mode: 'OpenTelemetry spans', against: 'callers in spans' },
];
const IN_FLIGHT = [1, 256];
/** Warm-up, so that the code is compiled. */
const WARM_UP_ROUNDS = 2;

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const subjects = [
  ...MODES.map((each) => ({ name: each.mode, ...each, folder: dist })),
  ...options.also.map((folder) => ({
    mode: 'nothing on',
    against: 'nothing on',
    name: `nothing on, ${folder}`,
    folder: path.resolve(folder),
  })),
];

const redis = options.redis ? await startRedis() : undefined;
const children = subjects.map(({ mode, against, name, folder }, database) => ({
  mode,
  against,
  name,
  child: startChild(new URL('telemetry.worker.mjs', import.meta.url), name),
  opening: {
    kind: 'open',
    mode,
    url: pathToFileURL(folder).href,
    redis: redis && `${redis.url}/${database}`,
  },
  /** @type {Map<number, number[]>} */
  samples: new Map(IN_FLIGHT.map((inFlight) => [inFlight, []])),
}));
try {
  for (const { child, opening } of children) await child.ask(opening);
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const inFlight of IN_FLIGHT) {
      for (const { child, samples } of round % 2 === 0 ? children : children.toReversed()) {
        const us = await child.ask({ kind: 'load', inFlight, ms });
        if (round >= 0) samples.get(inFlight)?.push(us);
      }
    }
  }
} finally {
  await Promise.all(children.map(({ child }) => child.close()));
  await redis?.close();
}

const where = options.redis ? 'ioredis and a real Redis' : 'a client that answers at once';
console.log(
  `${rounds} rounds of ${ms} ms, ${where}; load ${os.loadavg()[0]?.toFixed(1)}; the ratio: median [quartiles]\n`,
);
const table = [['us of Node per decision', 'in flight', 'median', 'ratio', 'against']];
for (const inFlight of IN_FLIGHT) {
  for (const { name, against, samples } of children) {
    const own = samples.get(inFlight) ?? [];
    const base = children.find((each) => each.name === against)?.samples.get(inFlight) ?? [];
    const ratios = own.map((us, i) => us / (base[i] ?? Number.NaN)).toSorted((a, b) => a - b);
    const quartile = (/** @type {number} */ part) =>
      (ratios[Math.round(part * (ratios.length - 1))] ?? Number.NaN).toFixed(3);
    table.push([
      name,
      String(inFlight),
      median(own).toFixed(3),
      name === against ? '' : `${median(ratios).toFixed(3)} [${quartile(0.25)}, ${quartile(0.75)}]`,
      name === against ? '' : against,
    ]);
  }
}
console.log(align(table));

/**
 * @param {'rounds' | 'ms'} name
 * @param {number} usual
 */
function count(name, usual) {
  const given = Number(options[name] ?? usual);
  if (!Number.isSafeInteger(given) || given < 1) {
    throw new Error(`--${name} must be a whole number from 1 on`);
  }
  return given;
}
