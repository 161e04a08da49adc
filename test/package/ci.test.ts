import { expect, test } from 'vitest';
import { countTests, sumOf } from '../../scripts/counts.mjs';

const report = (numPassedTests: number, numFailedTests = 0) => ({
  numPassedTests,
  numFailedTests,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [],
});

const cases = [
  ['all tests passed', report(3), 0, { passed: 3, failed: 0, skipped: 0 }],
  ['one test failed', report(3, 1), 1, { passed: 3, failed: 1, skipped: 0 }],
  ['no report was written', undefined, 0, { passed: 0, failed: 1, skipped: 0 }],
  ['no test was found', report(0), 0, { passed: 0, failed: 1, skipped: 0 }],
  ['an error occurred outside any test', report(3), 1, { passed: 3, failed: 1, skipped: 0 }],
  [
    'a file did not load',
    { ...report(3), testResults: [{ name: 'a', status: 'failed', assertionResults: [] }] },
    1,
    { passed: 3, failed: 1, skipped: 0 },
  ],
  [
    'a file has a failed test, which counts once',
    {
      ...report(3, 1),
      testResults: [{ name: 'a', status: 'failed', assertionResults: [{ status: 'failed' }] }],
    },
    1,
    { passed: 3, failed: 1, skipped: 0 },
  ],
  [
    'tests were skipped or planned',
    { ...report(3), numPendingTests: 2, numTodoTests: 1 },
    0,
    { passed: 3, failed: 0, skipped: 3 },
  ],
] as const;

test.each(cases)('CI counts the tests when %s', (_when, given, exitCode, expected) => {
  expect(countTests(given, exitCode)).toEqual(expected);
});

test('CI adds the counts of its parts', () => {
  const parts = [
    { passed: 3, failed: 0, skipped: 1 },
    { passed: 1, failed: 0, skipped: 0 },
    { passed: 0, failed: 1, skipped: 0 },
  ];
  expect(sumOf(parts)).toEqual({ passed: 4, failed: 1, skipped: 1 });
});
