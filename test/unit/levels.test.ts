import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { CLIENT_TESTS } from '../kit/setup/client-tests.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The relative imports of a file without types, and the Node modules that it imports. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [
    ...text.matchAll(/^(?:import|export)\s+(?!type\s)[^;'"]*?from\s+'([^']+)'/gm),
    ...text.matchAll(/^import\s+'([^']+)'/gm),
    ...text.matchAll(/^(?!\s*(?:\/\*)?\*|\s*\/\/).*\bimport\(\s*'([^']+)'/gm),
  ].map(([, specifier = '']) =>
    specifier.startsWith('.')
      ? path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier))
      : specifier,
  );
}

/** All files loaded together with a file; src and packages left out. */
function reachedFrom(file: string, reached = new Set<string>()): Set<string> {
  for (const imported of importsOf(file)) {
    if (reached.has(imported)) continue;
    reached.add(imported);
    if (/^(?:test|scripts)\//.test(imported) && existsSync(path.join(root, imported))) {
      reachedFrom(imported, reached);
    }
  }
  return reached;
}

function testFiles(folder: string): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => `${folder}/${file.replaceAll(path.sep, '/')}`)
    .filter((file) => file.endsWith('.test.ts'));
}

function filesThatReach(folder: string, isReached: (imported: string) => boolean): string[] {
  return testFiles(folder).filter((file) => [...reachedFrom(file)].some(isReached));
}

test('no unit test starts a server or process, or needs a package from test/installs', () => {
  const isOutside = (imported: string): boolean =>
    /^(?:node:child_process|node:cluster|test\/kit\/servers\/.*|test\/installs\/.*)$/.test(
      imported,
    );
  expect(filesThatReach('test/unit', isOutside)).toEqual([]);
});

test('only the group `clients` of test/redis-server needs test/installs/clients', () => {
  const found = filesThatReach('test/redis-server', (imported) =>
    imported.startsWith('test/installs/clients/'),
  );
  expect(found.sort()).toEqual([...CLIENT_TESTS].sort());
});

test('no test in test/docs needs a package from test/installs', () => {
  const found = filesThatReach('test/docs', (imported) => imported.startsWith('test/installs/'));
  expect(found).toEqual([]);
});

test('the scan follows imports through other files', () => {
  expect([...reachedFrom('test/redis-server/limiter/lease.test.ts')]).toContain(
    'node:child_process',
  );
});
