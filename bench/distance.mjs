// @ts-check
/**
 * Measures what a decision costs and how long it waits when Redis is farther away: `npm run bench -- distance`. Busy
 * identities, plain and with `prepay`; and a flood of identities that have nothing left, plain and with `denyCache`. All
 * ways and distances take turns in every round, in random order; a figure is the median over the rounds.
 *
 * Where Linux lets it, client processes and Redis run in a network namespace of their own, whose packets `tc netem`
 * delays. Elsewhere, and with `--relay`, the tests' relay delays the bytes. Writes bench/distance/figures.json and the
 * tables of docs/scale.md. `--quick` shows that all of it runs, and writes nothing; `--identities 1000`, with more identities,
 * writes nothing either.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensurePackages } from '../scripts/bootstrap.mjs';
import { build } from '../scripts/build.mjs';
import { ensureRedisServer } from '../scripts/redis-server.mjs';
import { startRedis } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { isInNamespace, openNetem, openRelay, runInNamespace } from './distance/far.mjs';
import { distanceTables } from './distance/table.mjs';
import { median, mediansOf } from './report.mjs';
import { storedFigures } from './scale/figures.mjs';
import { fillIn } from './scale/page.mjs';

/**
 * @typedef {object} Sample of one way at one distance
 * @property {number} tripMs a `PING`, there and back, while nothing else is asked
 * @property {number} asked decisions that Redis was asked for, of all
 * @property {number} allowed of all
 * @property {number} redisUs processor time per decision
 * @property {number} nodeUs of the client processes, per decision
 * @property {number} p50Us of a call; the slower process's
 * @property {number} p99Us
 *
 * @typedef {object} Told what one process measured
 * @property {number} decisions
 * @property {number} asked of them, by Redis
 * @property {number} allowed
 * @property {number} nodeUs processor time of this process, user and system, in all
 * @property {number} p50Us of a call
 * @property {number} p99Us
 *
 * @typedef {typeof figures} Figures
 */

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    relay: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    identities: { type: 'string', default: '100' },
  },
});
const { quick } = options;
const isKept = !quick && options.identities === '100';

const ADDED_MS = quick ? [0, 5] : [0, 1, 5, 25];
/** Calls a second of all identities. The frequencies of identities are as 1, 1/2, 1/3, and so on. */
const TRAFFIC = { perSecond: 20_000, identities: Number(options.identities) };
/** A few ask for more than this. */
const BUSY = { rate: 1_000, burst: 4_000 };
/** All ask for more than this. */
const FLOOD = { rate: 1, burst: 10 };
const WAYS = /** @type {const} */ ({
  plain: { limit: BUSY, local: {} },
  prepay: { limit: BUSY, local: { prepay: true } },
  'flood, plain': { limit: FLOOD, local: {} },
  'flood, denyCache': { limit: FLOOD, local: { denyCache: { holdMs: 250 } } },
});
const PROCESSES = 2;
const ROUNDS = quick ? 1 : Number(options.rounds);
/** By then busy identities have spent their bursts, and slices are given. */
const SETTLING_MS = quick ? 500 : 1_000;
const TURN_MS = quick ? 500 : 1_000;

const FIGURES = new URL('distance/figures.json', import.meta.url);
const PAGE = new URL('../docs/scale.md', import.meta.url);

if (!isInNamespace) {
  ensurePackages();
  await build();
  ensureRedisServer();
  const why = options.relay ? 'the relay was asked for' : runInNamespace(process.argv.slice(2));
  if (why === undefined) process.exit();
  console.log(`tc netem cannot be had: ${why}. The tests' relay adds the distance.`);
}

console.log(`Node ${process.versions.node}, ${os.cpus().length} cores, load ${load()}`);
const server = await startRedis();
const far = isInNamespace ? await openNetem(server.port) : await openRelay(server.port);
const clients = Array.from({ length: PROCESSES }, (_, i) =>
  startChild(new URL('distance/worker.mjs', import.meta.url), `client ${i}`),
);
const ways = /** @type {(keyof typeof WAYS)[]} */ (Object.keys(WAYS));
const turns = ADDED_MS.flatMap((addedMs) =>
  ways.map((way) => ({ addedMs, way, samples: /** @type {Sample[]} */ ([]) })),
);
/** Processor time of an idle server, per millisecond. */
let idleUs = 0;
const figures = {
  node: process.versions.node,
  redis: (await server.info('server'))['redis_version'] ?? '',
  cores: os.cpus().length,
  load: '',
  by: far.name,
  processes: PROCESSES,
  rounds: ROUNDS,
  traffic: TRAFFIC,
  busy: BUSY,
  flood: FLOOD,
  /** @type {{ addedMs: number, way: keyof typeof WAYS, sample: Sample }[]} */
  rows: [],
};

try {
  for (const way of ways) {
    const { limit, local } = WAYS[way];
    const { identities } = TRAFFIC;
    const opened = { kind: 'open', way, port: far.port, limit, local, identities };
    await Promise.all(clients.map((client, index) => client.ask({ ...opened, index })));
    await called(way, SETTLING_MS);
  }
  idleUs = await idleCost();
  for (let round = 0; round < ROUNDS; round++) {
    for (const { addedMs, way, samples } of turns.toSorted(() => Math.random() - 0.5)) {
      await far.add(addedMs);
      samples.push(await sampleOf(way));
    }
    console.log(`round ${round + 1} of ${ROUNDS}, load ${load()}`);
  }
} finally {
  await Promise.all(clients.map((client) => client.close()));
  await far.close();
  await server.close();
}
figures.load = load();
figures.rows = turns.map(({ addedMs, way, samples }) => ({
  addedMs,
  way,
  sample: mediansOf(samples),
}));
for (const table of Object.values(distanceTables(figures))) console.log(`\n${table}`);
if (isKept) {
  writeFileSync(FIGURES, `${JSON.stringify(figures, rounded, 2)}\n`);
  writeFileSync(PAGE, fillIn(readFileSync(PAGE, 'utf8'), storedFigures()));
}

/**
 * @param {keyof typeof WAYS} way
 * @param {number} ms
 * @returns {Promise<Told[]>}
 */
function called(way, ms) {
  const perSecond = TRAFFIC.perSecond / PROCESSES;
  return Promise.all(clients.map((client) => client.ask({ kind: 'load', way, ms, perSecond })));
}

/** @param {keyof typeof WAYS} way @returns {Promise<Sample>} */
async function sampleOf(way) {
  /** @type {number[]} */
  const trips = await Promise.all(clients.map((client) => client.ask({ kind: 'trip', way })));
  await called(way, SETTLING_MS);
  const before = await server.cpuMicros();
  const from = performance.now();
  const told = await called(way, TURN_MS);
  const spentUs = (await server.cpuMicros()) - before - idleUs * (performance.now() - from);
  /** @param {'decisions' | 'asked' | 'allowed' | 'nodeUs'} of */
  const sum = (of) => told.reduce((total, each) => total + each[of], 0);
  const decisions = sum('decisions');
  return {
    tripMs: median(trips),
    asked: sum('asked') / decisions,
    allowed: sum('allowed') / decisions,
    redisUs: Math.max(0, spentUs) / decisions,
    nodeUs: sum('nodeUs') / decisions,
    p50Us: Math.max(...told.map(({ p50Us }) => p50Us)),
    p99Us: Math.max(...told.map(({ p99Us }) => p99Us)),
  };
}

async function idleCost() {
  const before = await server.cpuMicros();
  const from = performance.now();
  await sleep(TURN_MS);
  return ((await server.cpuMicros()) - before) / (performance.now() - from);
}

function load() {
  return os.loadavg()[0]?.toFixed(1) ?? '';
}

/** Three digits: the measurement is not more precise than that. @param {string} _key @param {unknown} value */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isSafeInteger(value)
    ? Number(value.toPrecision(3))
    : value;
}
