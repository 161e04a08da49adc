import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const dist = path.join(root, 'dist');
const manifest: { exports: Record<string, string | { default: string }> } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
);

beforeAll(() => {
  if (!existsSync(path.join(dist, 'index.js'))) throw new Error('Run `npm run build` first.');
});

function filesOfDist(ending: string): string[] {
  return readdirSync(dist, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll(path.sep, '/'))
    .filter((file) => file.endsWith(ending));
}

test('every module of dist is reached from an entry, or it would be dead weight or a forgotten entry', () => {
  const entries = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [] : [target.default.replace('./dist/', '')],
  );
  const reached = new Set(entries);
  for (const file of reached) {
    const text = readFileSync(path.join(dist, file), 'utf8');
    // A worker is named by `new URL`.
    for (const [, specifier = ''] of text.matchAll(
      /(?:from|import\(?|new URL\()\s*['"](\.[^'"]+\.js)['"]/g,
    )) {
      reached.add(path.posix.join(path.posix.dirname(file), specifier));
    }
  }
  // Modules of types alone are empty once built, and nothing imports them.
  const modules = filesOfDist('.js').filter(
    (file) => !/^export \{\};$/m.test(readFileSync(path.join(dist, file), 'utf8')),
  );
  expect(entries.length).toBeGreaterThan(10);
  expect(modules.filter((file) => !reached.has(file))).toEqual([]);
});

test('the published declarations show no member that is marked @internal', () => {
  const marked = filesOfDist('.d.ts').filter((file) =>
    readFileSync(path.join(dist, file), 'utf8').includes('@internal'),
  );
  expect(marked).toEqual([]);
});
