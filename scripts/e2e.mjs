/**
 * `npm run e2e` tries the packed package in each runtime and tool, by each way to keep state, on a real Redis, and writes
 * the table of docs/where-does-it-run.md. It fails if a cell fails, or if the page had another table. Arguments choose
 * rows by a part of their name: `npm run e2e -- Jest Bun`; the page is then left alone.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { startRedis, startRestServer } from '../test/kit/servers/index.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ROWS } from './e2e/cells.mjs';
import { CLIENTS, writeFiles } from './e2e/project.mjs';
import { WAYS, expectedOf } from './e2e/rows.mjs';
import { tableOf, withTable } from './e2e/table.mjs';
import { ensureRedisServer } from './redis-server.mjs';
import { Project } from './try/project.mjs';

const PAGE = path.join(root, 'docs/where-does-it-run.md');

const wanted = process.argv.slice(2);
const rows = ROWS.filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);
if (rows.length === 0) throw new Error(`No row has a name with ${wanted.join(' or ')}.`);

ensurePackages();
ensureRedisServer();
await build();

const folder = mkdtempSync(path.join(os.tmpdir(), 'drl-e2e-'));
const redis = await startRedis();
const rest = await startRestServer(redis);
const project = new Project(pack(), redis.url, 'module');
try {
  const started = performance.now();
  const packages = new Set([...CLIENTS, ...rows.flatMap(({ needs }) => needs)]);
  const installed = await project.install(...packages);
  if (installed.code !== 0) throw new Error(installed.output);
  console.log(`installed (${secondsSince(started)} s)`);
  writeFiles(project);
  const failed = await failuresOf({ project, redis, rest });
  const table = tableOf(rows, (name, way) => !failed.has(`${name}, ${way}`));
  console.log(`\n${table}`);
  if (failed.size > 0) process.exitCode = 1;
  else if (wanted.length === 0) write(table);
} finally {
  await project.close();
  await rest.close();
  await redis.close();
  rmSync(folder, { recursive: true, force: true });
}

/** @returns {string} the file that would be published */
function pack() {
  const args = ['pack', '--ignore-scripts', '--loglevel=error', '--json', '--pack-destination'];
  const packed = execFileSync('npm', [...args, folder], { cwd: root, encoding: 'utf8' });
  return path.join(folder, JSON.parse(packed)[0].filename);
}

/** @param {import('./e2e/rows.mjs').Place} place */
async function failuresOf(place) {
  /** @type {Set<string>} */
  const failed = new Set();
  for (const row of rows) {
    const began = performance.now();
    /** @param {import('./e2e/rows.mjs').Way} way */
    const tryWay = async (way) => {
      const got = await row.run(place, way).catch(String);
      const ok = got === expectedOf(row, way);
      const cell = `${row.name}, ${way}`;
      console.log(ok ? `ok     ${cell}` : `FAILED ${cell}: ${got}`);
      if (!ok) failed.add(cell);
    };
    if (row.atOnce === true) await Promise.all(WAYS.map(tryWay));
    else for (const way of WAYS) await tryWay(way);
    console.log(`       ${secondsSince(began)} s`);
  }
  return failed;
}

/** @param {number} instant */
function secondsSince(instant) {
  return ((performance.now() - instant) / 1_000).toFixed(1);
}

/** @param {string} table */
function write(table) {
  const page = readFileSync(PAGE, 'utf8');
  if (page.includes(table)) return;
  writeFileSync(PAGE, withTable(page, table));
  console.error('docs/where-does-it-run.md had another table; it has this one now.');
  process.exitCode = 1;
}
