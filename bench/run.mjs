// @ts-check
/**
 * Compares this library with others on one Redis: `npm run bench`, `npm run bench -- --quick`.
 *
 * Every subject runs in its own process, on its own database. All subjects take turns in every round, in random order,
 * so that other load on the machine falls on all of them alike. The result is the median over the rounds.
 */
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pathToFileURL } from 'node:url';
import { ensurePackages } from '../scripts/bootstrap.mjs';
import { build } from '../scripts/build.mjs';
import { ensureRedisServer } from '../scripts/redis-server.mjs';
import { startRedis } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { ensurePeers } from './install.mjs';
import { bytesTable, goals, goalsTable, scenarioTable } from './report.mjs';
import { ours, peers } from './subjects/index.mjs';

const HELP = `npm run bench -- [options]
  --rounds N       rounds of each scenario (15)
  --paired N       rounds of 1 in flight, each a short one (40)
  --ms N           length of one turn of one subject (300)
  --identities N   (100000)
  --quick          shows that everything runs, in less than a minute; the figures mean little
  --only A,B       only the subjects whose names contain one of these
  --scenarios A,B  only these, such as 256,256-hot
  --also DIR       another build of this library (its dist folder) as one more subject; may be given again
  --json FILE      writes all samples there
  --no-build       measures dist as it is`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string' },
    paired: { type: 'string' },
    ms: { type: 'string' },
    identities: { type: 'string' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    scenarios: { type: 'string' },
    also: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    'no-build': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

/** Warm-up of each turn, not counted: refreshes the subject's sockets and caches. */
const SETTLING_MS = 30;
/** Warm-up of each subject before the first round, so that its code is compiled. */
const WARM_UP_MS = options.quick ? 200 : 1_000;
/** Length of a turn with 1 call in flight: enough for a few thousand calls. */
const PAIRED_MS = 200;

const rounds = count('rounds', options.quick ? 1 : 15);
const pairedRounds = count('paired', options.quick ? 2 : 40);
const ms = count('ms', options.quick ? 100 : 300);
const identities = count('identities', options.quick ? 10_000 : 100_000);

/** @typedef {{ name: string, inFlight: number, hot: boolean, rounds: number, ms: number }} Scenario */

/** @type {Scenario[]} */
const scenarios = [1, 64, 256, 1_024].flatMap((inFlight) => [
  inFlight === 1
    ? { name: '1', inFlight, hot: false, rounds: pairedRounds, ms: Math.min(ms, PAIRED_MS) }
    : { name: String(inFlight), inFlight, hot: false, rounds, ms },
  { name: `${inFlight}-hot`, inFlight, hot: true, rounds, ms },
]);
const chosen = choose(scenarios, options.scenarios, (name, part) => name === part);
const builds = options.also.flatMap((folder) =>
  ours.map((each) => ({
    ...each,
    name: `${each.name.replace('distributed-rate-limiter', 'ours')}, build ${folder}`,
    dist: pathToFileURL(path.resolve(folder)).href,
  })),
);
/** @type {import('./subjects/index.mjs').Subject[]} */
const subjects = choose([...ours, ...builds, ...peers], options.only, (name, part) =>
  name.includes(part),
);
/** @type {import('./report.mjs').Row[]} */
const rows = subjects
  .filter(({ memoryOnly }) => memoryOnly !== true)
  .map(({ name, limits, dist, autoPipelining = false }) => ({
    name,
    ours: limits !== undefined,
    limits: dist === undefined ? limits : undefined,
    autoPipelining,
  }));

ensurePackages();
if (!options['no-build']) await build();
ensureRedisServer();
ensurePeers();

const turns = chosen.reduce((sum, each) => sum + each.rounds * (each.ms + SETTLING_MS + 20), 0);
const expected = rows.length * (turns + 2 * WARM_UP_MS + identities / 25 + 300);
console.log(
  `${rows.length} subjects, ${chosen.length} scenarios, ${rounds} rounds (${pairedRounds} of 1 in flight), ` +
    `${identities} identities: takes about ${Math.ceil(expected / 1_000)} s`,
);
console.log(`Node ${process.versions.node}, ${os.cpus().length} cores, load ${load()}`);

const redis = await startRedis();
console.log(`Redis ${(await redis.info('server'))['redis_version']}`);

const runners = subjects.map((subject) => ({
  ...subject,
  child: startChild(new URL('subject.worker.mjs', import.meta.url), subject.name),
}));
const deciding = runners.filter(({ memoryOnly }) => memoryOnly !== true);
/** @type {Map<string, import('./report.mjs').Bytes>} */
const bytes = new Map();
/** @type {Map<Scenario, import('./report.mjs').Samples>} */
const results = new Map();
let refused = 0;
try {
  for (const [db, { name, child, ...subject }] of runners.entries()) {
    await child.ask({
      kind: 'open',
      port: redis.port,
      db,
      identities,
      autoPipelining: false,
      limits: undefined,
      dist: undefined,
      ...subject,
    });
    const before = await memory();
    await child.ask({ kind: 'fill' });
    const after = await memory();
    bytes.set(name, {
      used: (after.used - before.used) / identities,
      dataset: (after.dataset - before.dataset) / identities,
    });
    if (subject.memoryOnly === true) continue;
    for (const hot of [false, true]) {
      await child.ask({ kind: 'load', hot, inFlight: 64, ms: WARM_UP_MS });
    }
  }
  for (const scenario of chosen) {
    results.set(scenario, new Map(rows.map(({ name }) => [name, []])));
  }
  for (let round = 0; round < Math.max(rounds, pairedRounds); round++) {
    for (const scenario of chosen.filter((each) => round < each.rounds)) {
      for (const { name, child } of shuffled(deciding)) {
        const sample = await turn(child, scenario);
        refused += sample.refused;
        results.get(scenario)?.get(name)?.push(sample);
      }
    }
  }
} finally {
  await Promise.all(runners.map(({ child }) => child.close()));
  await redis.close();
}

for (const [{ inFlight, hot, rounds: times }, samples] of results) {
  const over = hot ? 'one hot identity' : `${identities} identities`;
  console.log(`\n${inFlight} in flight, ${over}, median of ${times} rounds`);
  console.log(scenarioTable(samples, rows));
}
console.log('\nmemory of Redis');
console.log(bytesTable(bytes));
const reached = goals(
  (inFlight, hot) => {
    const scenario = chosen.find((each) => each.inFlight === inFlight && each.hot === hot);
    return scenario && results.get(scenario);
  },
  // With fewer identities each would carry more of the hash tables, which grow by doubling.
  identities < 100_000 ? undefined : bytes,
  rows,
);
console.log(
  `\ngoals, against the best peer at each (ratios: median of those of each round); load ${load()}`,
);
console.log(goalsTable(reached));

if (options.json !== undefined) {
  const samples = [...results].map(([scenario, of]) => ({
    ...scenario,
    samples: Object.fromEntries(of),
  }));
  const everything = {
    identities,
    bytes: Object.fromEntries(bytes),
    goals: reached,
    scenarios: samples,
  };
  writeFileSync(options.json, `${JSON.stringify(everything, undefined, 1)}\n`);
}
if (refused > 0) {
  console.error(`${refused} calls were refused where no limit refuses: the figures are invalid.`);
  process.exitCode = 1;
}

/**
 * @param {import('./child.mjs').Child} child
 * @param {Scenario} scenario
 * @returns {Promise<import('./load.mjs').LoadResult & { redisUs: number }>}
 */
async function turn(child, { hot, inFlight, ms: length }) {
  await child.ask({ kind: 'load', hot, inFlight, ms: SETTLING_MS });
  const before = await redis.cpuMicros();
  const sample = await child.ask({ kind: 'load', hot, inFlight, ms: length });
  return { ...sample, redisUs: ((await redis.cpuMicros()) - before) / sample.decisions };
}

async function memory() {
  const info = await redis.info('memory');
  return { used: Number(info['used_memory']), dataset: Number(info['used_memory_dataset']) };
}

function load() {
  return os.loadavg()[0]?.toFixed(1);
}

/**
 * @param {'rounds' | 'paired' | 'ms' | 'identities'} name
 * @param {number} usual
 */
function count(name, usual) {
  const given = Number(options[name] ?? usual);
  if (!Number.isSafeInteger(given) || given < 1) {
    throw new Error(`--${name} must be a whole number from 1 on`);
  }
  return given;
}

/**
 * @template {{ name: string }} T
 * @param {readonly T[]} all
 * @param {string | undefined} names
 * @param {(name: string, part: string) => boolean} matches
 */
function choose(all, names, matches) {
  const parts = names?.split(',');
  const some = all.filter(({ name }) => parts?.some((part) => matches(name, part)) ?? true);
  if (some.length === 0) {
    throw new Error(`unknown name ${names}; known: ${all.map(({ name }) => name).join(', ')}`);
  }
  return some;
}

/**
 * @template T
 * @param {readonly T[]} list
 */
function shuffled(list) {
  return list
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
