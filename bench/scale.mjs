// @ts-check
/**
 * Measures what a decision costs as identities, client processes and cluster primaries grow: `npm run bench -- scale`.
 *
 * The rows of a table take turns in every round, in random order, and the result is the median over the rounds. Only
 * clusters run one after another. Writes bench/scale/figures.json, the tables of docs/scale.md, and docs/scale.svg.
 * `--quick` runs everything with few identities and writes nothing. `--render` measures nothing, and makes page and
 * plot from the stored figures. `--clusters` measures clusters alone and keeps the other figures; `--rounds 5` takes
 * fewer turns.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensurePackages } from '../scripts/bootstrap.mjs';
import { build } from '../scripts/build.mjs';
import { ensureRedisServer } from '../scripts/redis-server.mjs';
import { startCluster, startRedis, startReplicated } from '../test/kit/servers/index.mjs';
import { startChild } from './child.mjs';
import { ensurePeers } from './install.mjs';
import { mediansOf } from './report.mjs';
import { storedFigures } from './scale/figures.mjs';
import { fillIn, tables } from './scale/page.mjs';
import { plot } from './scale/plot.mjs';

/**
 * @typedef {import('../test/kit/servers/index.mjs').RedisServer} RedisServer
 * @typedef {import('./child.mjs').Child} Child
 * @typedef {import('./load.mjs').LoadResult} LoadResult
 *
 * @typedef {object} Sample what one turn showed, or the medians of several
 * @property {number} perSecond decisions, of all processes
 * @property {number} entries decisions per script call
 * @property {number} redisUs processor time of all servers, per decision
 * @property {number} busiest the part of it that the busiest server had
 * @property {number} nodeUs processor time of the client processes, per decision
 * @property {number} p50Us of a call; of several processes the worst one's
 * @property {number} p99Us
 * @property {number} bytesIn that servers read, per decision
 * @property {number} bytesOut that they wrote, to replicas too
 *
 * @typedef {object} Group a server or a cluster, whoever else is part of it, and what was measured there
 * @property {string} name
 * @property {RedisServer[]} servers that decide
 * @property {number} identities
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Turn
 * @property {Group} on
 * @property {number} processes
 * @property {number} inFlight of each process
 * @property {string} [period] of identities that are never seen again
 * @property {Sample[]} samples
 *
 * @typedef {typeof figures} Figures
 */

const PAGE = new URL('../docs/scale.md', import.meta.url);
const PLOT = new URL('../docs/scale.svg', import.meta.url);
const FIGURES = new URL('scale/figures.json', import.meta.url);

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    render: { type: 'boolean', default: false },
    clusters: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '7' },
  },
});
const { quick } = options;

if (options.render) {
  write();
  process.exit(0);
}

const COUNTS = quick ? [1_000, 10_000] : [1_000, 100_000, 1_000_000, 10_000_000];
const PROCESSES = [1, 2, 4, 8];
const IN_FLIGHT = [1, 4, 16, 64, 256, 1_024];
const PRIMARIES = quick ? [1, 3] : [1, 2, 3, 4];
/** @type {readonly (16 | 64 | 256)[]} */
const TAGS = quick ? [16] : [16, 64];
/** Calls in flight of each of two processes. */
const CLUSTER_IN_FLIGHT = quick ? [64] : [64, 256];
/** Number of identities in measurements that do not vary it. */
const IDENTITIES = quick ? 5_000 : 100_000;
const ROUNDS = quick ? 1 : Number(options.rounds);
const TURN_MS = quick ? 100 : 600;
/** Warm-up of each turn, not counted: refreshes sockets and caches. */
const SETTLING_MS = quick ? 20 : 60;
const WARM_UP_MS = quick ? 100 : 1_000;
/**
 * The key of an identity that is seen once expires within this time. So in each turn as many keys expire as are made.
 */
const STRANGERS_FOR = '200ms';

ensurePackages();
await build();
ensureRedisServer();
ensurePeers();

console.log(
  `${COUNTS.at(-1)} identities at most, ${ROUNDS} rounds; Node ${process.versions.node}, ` +
    `${os.cpus().length} cores, load ${os.loadavg()[0]?.toFixed(1)}`,
);

const children = Array.from({ length: Math.max(...PROCESSES) }, (_, i) =>
  startChild(new URL('scale/worker.mjs', import.meta.url), `client ${i}`),
);
/** @type {Group[]} */
const groups = [];
/** How many identities were made that are called for only once. */
let strangers = 0;
/** The highest number of their keys that existed at a time. */
let peakKeys = 0;
const figures = {
  node: process.versions.node,
  redis: '',
  cores: os.cpus().length,
  /** @type {{ count: number, bytes: number, loaded: Sample, alone: Sample }[]} */
  identities: [],
  /** @type {{ inFlight: number, sample: Sample }[]} */
  inFlight: [],
  /** @type {{ processes: number, sample: Sample }[]} */
  processes: [],
  /** @type {{ primaries: number, inFlight: number, alone: Sample, rows: { tags: number, sample: Sample }[] }[]} */
  primaries: [],
  /** @type {{ what: string, sample: Sample }[]} */
  durability: [],
  /** @type {{ sample: Sample, peakKeys: number }[]} */
  strangers: [],
};

try {
  if (options.clusters) {
    const { primaries: _, ...others } = JSON.parse(readFileSync(FIGURES, 'utf8'));
    Object.assign(figures, others);
  } else {
    await measureIdentities();
    await measureLoad();
  }
  for (const primaries of PRIMARIES) await measurePrimaries(primaries);
} finally {
  await Promise.all(children.map((child) => child.close()));
  await Promise.all(groups.map(({ close }) => close()));
}
console.log(`load ${os.loadavg()[0]?.toFixed(1)}\n`);
for (const [name, table] of Object.entries(tables({ ...storedFigures(), ...figures })))
  console.log(`${name}\n${table}\n`);
if (!quick) {
  writeFileSync(FIGURES, `${JSON.stringify(figures, rounded, 2)}\n`);
  write();
}

async function measureIdentities() {
  const measured = [];
  for (const count of COUNTS) {
    const server = await startRedis();
    figures.redis = (await server.info('server'))['redis_version'] ?? '';
    const on = await open(`${count}`, [server], {}, count);
    const before = await memoryOf(on);
    await fill(on);
    measured.push({
      count,
      bytes: ((await memoryOf(on)) - before) / count,
      loaded: newTurn({ on, processes: 1, inFlight: 256 }),
      alone: newTurn({ on, processes: 1, inFlight: 1 }),
    });
  }
  await takeTurns(measured.flatMap(({ loaded, alone }) => [loaded, alone]));
  figures.identities = measured.map(({ loaded, alone, ...rest }) => ({
    ...rest,
    loaded: medians(loaded),
    alone: medians(alone),
  }));
  await closeAll();
}

async function measureLoad() {
  const usual = await filled('usual', [await startRedis()]);
  const replicated = await startReplicated();
  const aof = { appendonly: 'yes', appendfsync: 'everysec' };
  const guards = /** @type {const} */ ([
    ['neither', usual],
    ['a replica', await filled('replica', [replicated.primary], replicated.close)],
    ['`appendonly`, every second', await filled('aof', [await startRedis({ config: aof })])],
  ]);
  const ofInFlight = IN_FLIGHT.map((inFlight) => newTurn({ on: usual, processes: 1, inFlight }));
  const ofProcesses = PROCESSES.map((processes) => newTurn({ on: usual, processes, inFlight: 64 }));
  const ofGuards = guards.map(([what, on]) => ({
    what,
    taken: newTurn({ on, processes: 1, inFlight: 256 }),
  }));
  const ofStrangers = newTurn({ on: usual, processes: 1, inFlight: 256, period: STRANGERS_FOR });
  await takeTurns([
    ...ofInFlight,
    ...ofProcesses,
    ...ofGuards.map(({ taken }) => taken),
    ofStrangers,
  ]);
  figures.inFlight = ofInFlight.map((taken) => ({
    inFlight: taken.inFlight,
    sample: medians(taken),
  }));
  figures.processes = ofProcesses.map((taken) => ({
    processes: taken.processes,
    sample: medians(taken),
  }));
  figures.durability = ofGuards.map(({ what, taken }) => ({ what, sample: medians(taken) }));
  figures.strangers = [{ sample: medians(ofStrangers), peakKeys }];
  await closeAll();
}

/**
 * One cluster at a time, beside a server that is none: nodes talk to each other, and several clusters would disturb
 * each other.
 *
 * @param {number} primaries
 */
async function measurePrimaries(primaries) {
  const { nodes, close } = await startCluster({ primaries });
  const one = await filled('one server', [await startRedis()]);
  const plain = await open(`cluster of ${primaries}`, nodes, { cluster: true }, IDENTITIES, close);
  await fill(plain);
  const rows = [{ tags: 0, on: plain }];
  for (const tags of TAGS) {
    const name = `${plain.name}, ${tags} tags`;
    const on = await open(name, nodes, { cluster: true, tags }, IDENTITIES, async () => {});
    await fill(on);
    rows.push({ tags, on });
  }
  const taken = CLUSTER_IN_FLIGHT.map((inFlight) => ({
    inFlight,
    alone: newTurn({ on: one, processes: 2, inFlight }),
    rows: rows.map(({ tags, on }) => ({
      tags,
      turn: newTurn({ on, processes: 2, inFlight }),
    })),
  }));
  await takeTurns(taken.flatMap((each) => [each.alone, ...each.rows.map(({ turn }) => turn)]));
  figures.primaries.push(
    ...taken.map((each) => ({
      primaries,
      inFlight: each.inFlight,
      alone: medians(each.alone),
      rows: each.rows.map(({ tags, turn }) => ({ tags, sample: medians(turn) })),
    })),
  );
  await closeAll();
}

/**
 * @param {Omit<Turn, 'samples'>} taken
 * @returns {Turn}
 */
function newTurn(taken) {
  return { ...taken, samples: [] };
}

/** @param {readonly Turn[]} turns */
async function takeTurns(turns) {
  for (const each of turns) await load(each, WARM_UP_MS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const each of turns.toSorted(() => Math.random() - 0.5)) {
      await load(each, SETTLING_MS);
      each.samples.push(await sampleOf(each));
    }
  }
}

async function closeAll() {
  await Promise.all(children.map((child) => child.ask({ kind: 'close' })));
  await Promise.all(groups.splice(0).map(({ close }) => close()));
}

/**
 * @param {string} name
 * @param {RedisServer[]} servers
 * @param {{ cluster?: boolean, tags?: 16 | 64 | 256 }} how
 * @param {number} identities
 * @param {() => Promise<void>} [close]
 */
async function open(name, servers, how, identities, close) {
  const group = {
    name,
    servers,
    identities,
    close:
      close ??
      (async () => {
        await Promise.all(servers.map((server) => server.close()));
      }),
  };
  groups.push(group);
  const target = { cluster: false, ...how, ports: servers.map(({ port }) => port), identities };
  await Promise.all(children.map((child) => child.ask({ kind: 'open', name, target })));
  return group;
}

/**
 * @param {string} name
 * @param {RedisServer[]} servers
 * @param {() => Promise<void>} [close]
 */
async function filled(name, servers, close) {
  const group = await open(name, servers, {}, IDENTITIES, close);
  await fill(group);
  return group;
}

/** @param {Group} group */
async function fill({ name, identities, servers }) {
  const began = performance.now();
  const half = Math.ceil(identities / 2);
  await Promise.all(
    children.slice(0, 2).map((child, i) => {
      const to = Math.min((i + 1) * half, identities);
      return child.ask({ kind: 'fill', name, from: i * half, to });
    }),
  );
  // Redis moves its key tables to larger ones step by step, at each tick. Both tables exist meanwhile.
  const hz = (/** @type {number} */ ticks) =>
    Promise.all(servers.map((server) => server.command('CONFIG', 'SET', 'hz', ticks)));
  await hz(500);
  for (let settled = false; !settled;) {
    // With ten million keys this check takes Redis half a second of processor time.
    await sleep(Math.max(200, identities / 5_000));
    const told = await Promise.all(
      servers.map((server) => server.command('DEBUG', 'HTSTATS', '0')),
    );
    settled = told.every((text) => !String(text).includes('rehashing target'));
  }
  await hz(10);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  console.log(`${name}: ${identities} identities in ${seconds} s`);
}

/** @param {Group} group */
async function memoryOf({ servers }) {
  const infos = await Promise.all(servers.map((server) => server.info('memory')));
  return infos.reduce((sum, info) => sum + Number(info['used_memory']), 0);
}

/**
 * @param {Turn} turn
 * @param {number} ms
 * @returns {Promise<LoadResult[]>}
 */
function load({ on, processes, inFlight, period }, ms) {
  return Promise.all(
    children.slice(0, processes).map((child, i) => {
      const from = period === undefined ? Math.floor((i * on.identities) / processes) : strangers;
      if (period !== undefined) strangers += 1_000_000;
      const kind = period === undefined ? 'load' : 'load-of-strangers';
      return child.ask({ kind, name: on.name, from, inFlight, ms, period });
    }),
  );
}

/** @param {Turn} turn */
async function sampleOf(turn) {
  const { servers } = turn.on;
  const before = await Promise.all(servers.map(spentBy));
  const results = await load(turn, TURN_MS);
  const after = await Promise.all(servers.map(spentBy));
  if (turn.period !== undefined) {
    const { keys } = (await servers[0]?.keyCounts()) ?? { keys: 0 };
    peakKeys = Math.max(peakKeys, keys - turn.on.identities);
  }
  const refused = results.reduce((sum, each) => sum + each.refused, 0);
  if (refused > 0) throw new Error(`${refused} calls were refused where no limit refuses`);
  const decisions = results.reduce((sum, each) => sum + each.decisions, 0);
  const spent = after.map((each, i) => ({
    calls: each.calls - (before[i]?.calls ?? 0),
    cpuUs: each.cpuUs - (before[i]?.cpuUs ?? 0),
    bytesIn: each.bytesIn - (before[i]?.bytesIn ?? 0),
    bytesOut: each.bytesOut - (before[i]?.bytesOut ?? 0),
  }));
  /** @param {'calls' | 'cpuUs' | 'bytesIn' | 'bytesOut'} of */
  const all = (of) => spent.reduce((sum, each) => sum + each[of], 0);
  return {
    perSecond: results.reduce((sum, each) => sum + each.perSecond, 0),
    entries: decisions / all('calls'),
    redisUs: all('cpuUs') / decisions,
    busiest: Math.max(...spent.map(({ cpuUs }) => cpuUs)) / all('cpuUs'),
    nodeUs: results.reduce((sum, each) => sum + each.nodeUs * each.decisions, 0) / decisions,
    p50Us: Math.max(...results.map(({ p50Us }) => p50Us)),
    p99Us: Math.max(...results.map(({ p99Us }) => p99Us)),
    bytesIn: all('bytesIn') / decisions,
    bytesOut: all('bytesOut') / decisions,
  };
}

/** @param {RedisServer} server */
async function spentBy(server) {
  const [stats, commands, cpuUs] = await Promise.all([
    server.info('stats'),
    server.commandStats(),
    server.cpuMicros(),
  ]);
  return {
    cpuUs,
    calls: commands['evalsha']?.calls ?? 0,
    bytesIn: Number(stats['total_net_input_bytes']),
    bytesOut: Number(stats['total_net_output_bytes']),
  };
}

/** @param {Turn} turn @returns {Sample} */
function medians({ samples }) {
  return mediansOf(samples);
}

/**
 * Four digits: the measurement is not more precise than that.
 *
 * @param {string} _key
 * @param {unknown} value
 */
function rounded(_key, value) {
  return typeof value === 'number' && !Number.isSafeInteger(value)
    ? Number(value.toPrecision(4))
    : value;
}

/** Makes page and plot from the stored figures. */
function write() {
  const stored = storedFigures();
  writeFileSync(PAGE, fillIn(readFileSync(PAGE, 'utf8'), stored));
  writeFileSync(PLOT, plot(stored));
}
