/**
 * `npm run local` shows decisions without a call to Redis (`prepay` and `denyCache`) on real processes: what is admitted
 * against the bound while processes die, freeze and lose replies, and through a failover; calls to Redis per decision; and
 * decisions per second beside the same limiter without these options and beside other libraries. It prints each figure
 * beside its goal, and fails only if a limit was exceeded. Takes about four minutes. `--faults` leaves out the speed, and
 * `--speed` all else. `--minutes 20` does nothing but repeat the run with faults for so long, and adds up what was admitted.
 */
import os from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ensurePeers } from '../bench/install.mjs';
import { ensurePackages } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

const { values } = parseArgs({
  options: {
    faults: { type: 'boolean', default: false },
    speed: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    minutes: { type: 'string', default: '0' },
  },
});
const rounds = Number(values.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1) {
  console.error('--rounds must be a whole number from 1 on.');
  process.exit(1);
}

const minutes = Number(values.minutes);
if (!(minutes >= 0)) {
  console.error('--minutes must be a number from 0 on.');
  process.exit(1);
}

ensurePackages();
ensureRedisServer();
await build();

/** @type {{ what: string, figure: string, wanted: string, isReached: boolean }[]} */
const goals = [];
let exceeded = 0;

console.log(`Node ${process.versions.node}, ${os.cpus().length} cores, load ${load()}`);
if (minutes > 0) {
  await showLong();
} else {
  if (!values.speed) await showFaults();
  if (!values.faults) await showSpeed();
  console.log(`\ngoals; load ${load()}`);
  print(
    goals.map(({ what, figure, wanted, isReached }) => [
      what,
      figure,
      wanted,
      isReached ? '' : 'missed',
    ]),
  );
}
if (exceeded > 0) console.error(`FAILED a limit was exceeded in ${exceeded} of the runs.`);
process.exitCode = exceeded === 0 ? 0 : 1;

/** Each run has servers and processes of its own, so that one more of them can be killed. */
async function showLong() {
  const { overloadWithFaults } = await import('../test/system/local/overload.mjs');
  const total = { runs: 0, decisions: 0, admitted: 0, slice: 0, degraded: 0 };
  let worst = -Infinity;
  const until = performance.now() + minutes * 60_000;
  while (performance.now() < until) {
    const { admissions, over, tally } = await overloadWithFaults({ ms: 10_000 });
    total.runs += 1;
    total.decisions += tally.calls;
    total.admitted += admissions.length;
    total.slice += tally.slice;
    total.degraded += tally.degraded;
    worst = Math.max(worst, over);
    if (over > 0) exceeded += 1;
    const left = Math.max(0, (until - performance.now()) / 60_000);
    console.log(
      `  ${total.runs} runs: admitted ${total.admitted}, ${exceeded} over, the fullest time ${Math.abs(worst).toFixed(0)} units ` +
        `${worst > 0 ? 'over' : 'below'} the limit; ${left.toFixed(1)} minutes left`,
    );
  }
  console.log(JSON.stringify(total));
}

async function showFaults() {
  // Imported only after the build.
  const { failover, FAILOVER, OVERLOAD, overload, overloadWithFaults, PROCESSES, RATE } =
    await import('../test/system/local/overload.mjs');
  const asking = { prepay: false, denyCache: false };
  /** @type {[string, () => Promise<import('../test/system/local/overload.mjs').Outcome & { lost?: number }>][]} */
  const runs = [
    ['prepaid', () => overload()],
    ['asking', () => overload({ local: asking })],
    ['prepaid, 4 processes', () => overload({ processes: 4 })],
    ['prepaid, 200 clients', () => overload({ clients: 200 / PROCESSES })],
    ['prepaid, faults', () => overloadWithFaults()],
    ['asking, faults', () => overloadWithFaults({ local: asking })],
    ['prepaid, failover of Sentinel', () => failover()],
    ['prepaid, failover of a cluster', () => failover({ of: 'cluster' })],
  ];
  console.log(
    `\n${PROCESSES} processes on one identity of ${RATE} a second, at ${OVERLOAD} times that. Faults: kill -9, SIGSTOP for 2 s, ` +
      `replies late and lost. Failover: ${FAILOVER.rate} a second, a burst of ${FAILOVER.burst}`,
  );
  const rows = [['', 'decisions', 'admitted', 'over', 'may be over', 'limit used', 'asked Redis']];
  for (const [name, run] of runs) {
    const { admissions, over, used, tally, asked, lost = 0 } = await run();
    if (over > lost) exceeded += 1;
    rows.push([
      name,
      String(tally.calls),
      String(admissions.length),
      over > 0 ? over.toFixed(0) : '0',
      lost.toFixed(0),
      lost > 0 ? '-' : used.toFixed(3),
      asked.toFixed(3),
    ]);
    if (name === 'prepaid') goal('limit used at 3 times the load', used, 0.9, 'at least');
    if (name.endsWith('4 processes')) goal('asked Redis, 4 processes', asked, 0.03, 'at most');
    if (name.endsWith('200 clients')) goal('asked Redis, 200 clients', asked, 0.2, 'at most');
  }
  print(rows);
}

async function showSpeed() {
  ensurePeers();
  const { fastifyServer, hotIdentity, refusedIdentities, zipfTraffic } =
    await import('../bench/local.mjs');
  const turns = { rounds, ms: 500 };

  const hot = await hotIdentity(turns);
  show('one identity, one process, 64 calls in flight', hot);
  goal('one identity, times the best peer', ratioToPeers(hot), 20, 'at least');

  const unequal = await zipfTraffic(turns);
  show("100,000 identities by Zipf's law (s = 1), the first at half of its limit", unequal);
  const [prepaid, asking] = unequal;
  const times = Number(prepaid?.perSecond) / Number(asking?.perSecond);
  goal("Zipf's law, times asking", times, 2, 'at least');
  goal("Zipf's law, asked Redis", Number(prepaid?.perDecision), 0.4, 'at most');

  const refused = await refusedIdentities(turns);
  show('100 identities that have nothing left', refused);
  goal('refused identities, asked Redis', Number(refused[0]?.perDecision), 0.01, 'at most');

  for (const isZipf of [true, false]) {
    const callers = isZipf ? "100,000 callers by Zipf's law" : '10,000 callers in turn';
    const served = await fastifyServer({ rounds, ms: 1_000 }, isZipf);
    console.log(`\nFastify, ${callers}`);
    print([
      ['', 'requests/s', 'kept of bare', 'CPU of bare'],
      ...served.map(({ name, perSecond, kept, cpu }) => [
        name,
        perSecond.toFixed(0),
        kept.toFixed(2),
        cpu.toFixed(2),
      ]),
    ]);
    const local = served.find(({ name }) => name === 'prepaid');
    goal(`Fastify, ${callers}, kept`, Number(local?.kept), isZipf ? 0.95 : 0.85, 'at least');
    if (isZipf) goal(`Fastify, ${callers}, CPU`, Number(local?.cpu), 1.1, 'at most');
  }
}

/** @param {readonly { name: string, perSecond: number }[]} rows the first two are of this library */
function ratioToPeers([prepaid, , ...peers]) {
  return Number(prepaid?.perSecond) / Math.max(...peers.map(({ perSecond }) => perSecond));
}

/**
 * @param {string} title
 * @param {readonly { name: string, perSecond: number, perDecision: number, nodeUs: number }[]} rows
 */
function show(title, rows) {
  console.log(`\n${title}`);
  print([
    ['', 'decisions/s', 'asked Redis', 'Node us/decision'],
    ...rows.map(({ name, perSecond, perDecision, nodeUs }) => [
      name,
      perSecond.toFixed(0),
      Number.isNaN(perDecision) ? '1' : perDecision.toFixed(4),
      nodeUs.toFixed(2),
    ]),
  ]);
}

/**
 * @param {string} what
 * @param {number} figure
 * @param {number} bound
 * @param {'at least' | 'at most'} kind
 */
function goal(what, figure, bound, kind) {
  const isReached = kind === 'at least' ? figure >= bound : figure <= bound;
  goals.push({ what, figure: figure.toPrecision(3), wanted: `${kind} ${bound}`, isReached });
}

/** @param {readonly (readonly string[])[]} rows */
function print(rows) {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  for (const row of rows) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    console.log(`  ${cells.join('  ').trimEnd()}`);
  }
}

function load() {
  return os.loadavg()[0]?.toFixed(1);
}
