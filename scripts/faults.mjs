/**
 * `npm run faults` shows what every client does under every fault, with each failure strategy, on real servers, as a
 * table of measured figures. The processes run with `--unhandled-rejections=strict`, so an unhandled rejection fails
 * the run. Arguments choose scenarios by words of their names: `npm run faults -- half`.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { ensureClients } from '../test/installs/clients/install.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

/** @typedef {import('../test/system/faults/run-scenario.mjs').Row} Row */

ensurePackages();
ensureClients();
ensureRedisServer();
await build();

// Imported only after the build.
const { clients } = await import('../test/system/faults/clients.mjs');
const { closings, runClosing } = await import('../test/system/faults/closing.mjs');
const { tableOf } = await import('../test/system/faults/table.mjs');

const EFFORT = 2;
/** More processes than cores would slow each other down and distort the figures. */
const AT_ONCE = 2;

const words = process.argv.slice(2).join(' ');
const started = performance.now();
/** @type {string[]} */
const failures = [];
/** @type {(Row & { extra?: number })[]} */
const rows = [];

// Groups with the most servers run first.
const waiting = ['cluster', 'sentinel', ...Object.keys(clients), 'port'];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let kind = waiting.shift(); kind !== undefined; kind = waiting.shift()) {
      rows.push(...(await runKind(kind)));
    }
  }),
);
const failovers = rows.filter(({ extra }) => extra !== undefined);
for (const table of [rows.filter((row) => !failovers.includes(row)), failovers]) {
  if (table.length > 0) console.log(`\n${tableOf(table)}\n`);
}

console.log('close() with 20 calls in flight, and the end of the process by itself:');
for (const closing of closings.filter(({ name }) => name.includes(words))) {
  try {
    for (const { client, closeMs, exitMs } of await runClosing(closing)) {
      const figures = `closed in ${closeMs.toFixed(0)} ms, ended ${exitMs.toFixed(0)} ms later`;
      console.log(`  during ${closing.name}, ${client}: ${figures}`);
    }
  } catch (error) {
    failures.push(`close() during ${closing.name}: ${String(error)}`);
  }
}

const latest = Math.max(0, ...rows.map(({ lateMs }) => lateMs));
const seconds = ((performance.now() - started) / 1_000).toFixed(0);
console.log(
  `\n${rows.length} scenarios held and ${failures.length} failed in ${seconds} s. The latest call settled ${latest.toFixed(0)} ms after its deadline.`,
);
for (const failure of failures) console.error(`\nFAILED ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;

/**
 * @param {string} kind
 * @returns {Promise<(Row & { extra?: number })[]>}
 */
async function runKind(kind) {
  const file = path.join(root, 'test/system/faults/table.worker.mjs');
  // Clients with default settings cause warnings; hundreds of them would hide the table.
  const flags = ['--unhandled-rejections=strict', '--disable-warning=DRL_CLIENT_RESENDS'];
  const args = [...flags, file, kind, String(EFFORT), words];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const code = new Promise((resolve) => child.once('close', resolve));
  /** @type {(Row & { extra?: number })[]} */
  const held = [];
  for await (const text of createInterface({ input: child.stdout })) {
    /** @type {import('../test/system/faults/table.worker.mjs').Line} */
    const line = JSON.parse(text);
    if ('row' in line) held.push(line.row);
    else failures.push(line.failure);
    process.stdout.write('row' in line ? '.' : 'F');
  }
  // Strict mode makes the exit code non-zero for an unhandled rejection as well.
  const ended = await code;
  if (ended !== 0) failures.push(`the process of ${kind} ended with ${ended}`);
  return held;
}
