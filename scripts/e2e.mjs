/**
 * `npm run e2e` tries the packed package in each runtime and tool, by each way to keep state, on a real Redis, and prints
 * the table of docs/where-does-it-run.md. It fails if a cell fails, or if the page says otherwise. Arguments choose rows
 * by a part of their name: `npm run e2e -- Jest Bun`; the page is then not compared.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { startRedis, startRestServer } from '../test/kit/servers/index.mjs';
import { ensurePackages, root } from './bootstrap.mjs';
import { build } from './build.mjs';
import { EXPECTED, ROWS, WAYS } from './e2e/cells.mjs';
import { PACKAGES, writeFiles } from './e2e/project.mjs';
import { tableOf } from './e2e/table.mjs';
import { ensureRedisServer } from './redis-server.mjs';
import { Project } from './try/project.mjs';

ensurePackages();
ensureRedisServer();
await build();

const wanted = process.argv.slice(2);
const rows = ROWS.filter(
  ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
);
const folder = mkdtempSync(path.join(os.tmpdir(), 'drl-e2e-'));
const redis = await startRedis();
const rest = await startRestServer(redis);
Object.assign(process.env, { REST_URL: rest.url, REST_TOKEN: rest.token });
const project = new Project(pack(), redis.url, 'module');
try {
  const installed = await project.install(...PACKAGES);
  if (installed.code !== 0) throw new Error(installed.output);
  writeFiles(project);
  const results = await runAll();
  const table = tableOf(results);
  console.log(`\n${table}`);
  const page = readFileSync(path.join(root, 'docs/where-does-it-run.md'), 'utf8');
  if (results.some(({ cells }) => cells.includes(false))) {
    process.exitCode = 1;
  } else if (wanted.length === 0 && !page.includes(table)) {
    console.error('docs/where-does-it-run.md has another table.');
    process.exitCode = 1;
  }
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

async function runAll() {
  const results = [];
  for (const { name, run } of rows) {
    const cells = [];
    for (const way of WAYS) {
      const started = performance.now();
      const got = await run(project, way).catch(String);
      const seconds = ((performance.now() - started) / 1_000).toFixed(1);
      const ok = got === EXPECTED;
      console.log(
        `${ok ? 'ok    ' : 'FAILED'} ${name}, ${way} (${seconds} s)${ok ? '' : `: ${got}`}`,
      );
      cells.push(ok);
    }
    results.push({ name, cells });
  }
  return results;
}
