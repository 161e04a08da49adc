/** The tests, then every check, then one line with the count of both. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { runNpm } from './bootstrap.mjs';
import { runChecks } from './check.mjs';

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 * @typedef {object} VitestReport what is used of vitest's JSON report
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {number} numPendingTests
 * @property {number} numTodoTests
 * @property {readonly { status: string, assertionResults: readonly { status: string }[] }[]} testResults
 */

/**
 * Counts the results of a test run. Vitest counts no failed test for a file that did not load, for an error outside any
 * test, or when it finds no test at all. Each of these counts as one failure here.
 *
 * @param {VitestReport | undefined} report undefined: the run ended before it wrote one
 * @param {number} exitCode
 * @returns {Counts}
 */
export function countTests(report, exitCode) {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const brokenFiles = report.testResults.filter(
    (file) =>
      file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed'),
  ).length;
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + brokenFiles;
  const failedOtherwise = failed === 0 && (exitCode !== 0 || passed === 0);
  return {
    passed,
    failed: failedOtherwise ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/**
 * @param {Counts} tests
 * @param {readonly import('./check.mjs').CheckResult[]} checks
 * @returns {Counts}
 */
export function addChecks(tests, checks) {
  const passed = checks.filter(({ ok }) => ok).length;
  return {
    ...tests,
    passed: tests.passed + passed,
    failed: tests.failed + checks.length - passed,
  };
}

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

/**
 * @param {string} file
 * @returns {VitestReport | undefined}
 */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { passed, failed, skipped } = addChecks(runTests(), runChecks());
  process.exitCode = failed === 0 ? 0 : 1;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
}
