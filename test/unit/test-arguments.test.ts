import { expect, test } from 'vitest';
import { vitestArguments } from '../../scripts/test-arguments.mjs';

const DEFAULT = ['--project=unit', '--project=redis-server', '--project=docs'];

test.each<[what: string, given: string[], expected: string[]]>([
  ['runs three groups by default', [], DEFAULT],
  ['runs one group with --unit', ['--unit'], ['--project=unit']],
  ['runs every group with --all', ['--all'], []],
  ['runs the named files of every group', ['test/system/soak'], ['test/system/soak']],
  ['takes the value of -t for no file', ['-t', 'refund'], [...DEFAULT, '-t', 'refund']],
  ['takes a value after = for no file', ['--retry=2'], [...DEFAULT, '--retry=2']],
  ['keeps the level beside -t', ['--unit', '-t', 'a b'], ['--project=unit', '-t', 'a b']],
  [
    'takes a file after the value of an option',
    ['--reporter', 'dot', 'http'],
    ['--reporter', 'dot', 'http'],
  ],
  ['takes an argument after a flag for a file', ['--silent', 'http'], ['--silent', 'http']],
  ['adds no group to a given project', ['--project', 'system'], ['--project', 'system']],
])('npm test %s', (_what, given, expected) => {
  expect(vitestArguments(given).args).toEqual(expected);
});

test.each<[given: string[], share: string]>([
  [['--unit'], '0.1'],
  [[], '0.5'],
  [['--all'], '1'],
  [['test/system/soak'], '1'],
])('npm test with %j runs that part of the long random tests: %s', (given, share) => {
  expect(vitestArguments(given).share).toBe(share);
});
