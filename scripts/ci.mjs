/** The tests, some of them on other servers, then every check, then one line with the count of all. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { runNpm } from './bootstrap.mjs';
import { runChecks } from './check.mjs';
import { countTests, readReport, sumOf } from './counts.mjs';
import { testServers } from './test-servers.mjs';

function runTests() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-ci-'));
  const file = path.join(folder, 'tests.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const exitCode = runNpm(['run', 'test:all', '--', ...reporters]);
    return countTests(readReport(file), exitCode);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const tests = runTests();
// The tests above ran on the system's own server. Debian 12's is Redis 7.
const others = testServers(['redis-8', 'valkey-8', 'valkey-9'], { slice: true });
const checks = runChecks().map(({ ok }) => ({
  passed: ok ? 1 : 0,
  failed: ok ? 0 : 1,
  skipped: 0,
}));
const { passed, failed, skipped } = sumOf([tests, others, ...checks]);
process.exitCode = failed === 0 ? 0 : 1;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
