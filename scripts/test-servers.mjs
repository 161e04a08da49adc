/**
 * `npm run test:servers` runs the suites of contracts, twins, faults and histories on each server of
 * scripts/servers.mjs, and prints their counts. Names choose servers: `npm run test:servers -- valkey-9`. `--slice` runs
 * the part that CI runs. A server that cannot be had is said, and counts as one skipped test.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensurePackages, root } from './bootstrap.mjs';
import { countTests, readReport, sumOf } from './counts.mjs';
import { SERVERS, ensureServer, versionOf } from './servers.mjs';

/** @typedef {import('./counts.mjs').Counts} Counts */
/** @typedef {import('./counts.mjs').VitestReport} VitestReport */

/** Files and folders of each suite, and the files that CI runs. */
const SUITES = {
  contracts: {
    whole: ['test/redis-server/contracts/'],
    slice: ['acl', 'cluster', 'ioredis', 'stepped-clock'].map(
      (name) => `test/redis-server/contracts/${name}.test.ts`,
    ),
  },
  twins: {
    whole: ['test/redis-server/algorithms/', 'test/redis-server/reservations/twins.test.ts'],
    slice: [
      ...['ban', 'concurrency', 'homes', 'sliding-window-log', 'token-bucket', 'windows'].map(
        (name) => `test/redis-server/algorithms/${name}.twins.test.ts`,
      ),
      'test/redis-server/algorithms/failures.test.ts',
      'test/redis-server/algorithms/write-together.test.ts',
    ],
  },
  faults: {
    whole: ['test/system/faults/', 'test/system/clock/'],
    slice: ['test/system/faults/ioredis.test.ts'],
  },
  histories: {
    whole: ['test/system/processes/history', 'test/system/processes/resume.history.test.ts'],
    slice: ['test/system/processes/history.test.ts'],
  },
};

/** The part of the random cases that a slice runs. */
const SHARE = '0.05';

/**
 * @param {readonly string[]} names
 * @param {{ slice: boolean }} options
 * @returns {Counts} of all servers
 */
export function testServers(names, { slice }) {
  const part = slice ? 'slice' : 'whole';
  /** @type {Record<string, string | number>[]} */
  const table = [];
  const all = names.map((name) => {
    /** @type {string} */
    let version;
    try {
      version = versionOf(ensureServer(name));
    } catch (error) {
      console.log(error instanceof Error ? error.message : error);
      table.push({ server: name, version: 'not to be had', skipped: 1 });
      return { passed: 0, failed: 0, skipped: 1 };
    }
    console.log(`\nThe ${part} of the suites on ${version}:`);
    const startedAt = performance.now();
    const { report, counts } = runSuites(name, part);
    const minutes = (performance.now() - startedAt) / 60_000;
    const passed = Object.entries(SUITES).map(([suite, { whole }]) => [
      suite,
      passedIn(report, whole),
    ]);
    const { failed, skipped } = counts;
    table.push({
      server: name,
      version,
      ...Object.fromEntries(passed),
      failed,
      skipped,
      minutes: Number(minutes.toFixed(1)),
    });
    return counts;
  });
  console.log('\nTests passed on each server, by suite:');
  console.table(table);
  return sumOf(all);
}

/**
 * @param {string} name
 * @param {'slice' | 'whole'} part
 */
function runSuites(name, part) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-servers-'));
  const file = path.join(folder, 'tests.json');
  const files = Object.values(SUITES).flatMap((suite) => suite[part]);
  try {
    const { status } = spawnSync(
      process.execPath,
      [
        path.join(root, 'scripts/test.mjs'),
        ...files,
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${file}`,
      ],
      {
        cwd: root,
        stdio: 'inherit',
        env: {
          ...process.env,
          DRL_SERVER: name,
          ...(part === 'slice' && { DRL_SHARE: SHARE }),
        },
      },
    );
    const report = readReport(file);
    return { report, counts: countTests(report, status ?? 1) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {VitestReport | undefined} report
 * @param {readonly string[]} places
 */
function passedIn(report, places) {
  return (report?.testResults ?? [])
    .filter(({ name }) => places.some((place) => name.includes(place)))
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed').length;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const given = process.argv.slice(2);
  const names = given.filter((argument) => argument !== '--slice');
  ensurePackages();
  const { passed, failed, skipped } = testServers(names.length > 0 ? names : Object.keys(SERVERS), {
    slice: given.includes('--slice'),
  });
  process.exitCode = failed === 0 ? 0 : 1;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
}
