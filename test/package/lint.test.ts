import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Each row: a file, its code, and the rule that must reject it. test/unit/layers.test.ts checks imports between layers.
 */
const refused: readonly (readonly [string, string, string])[] = [
  ['src/printing.ts', "console.log('x');", 'eslint(no-console)'],
  // A cycle is rejected even within one layer.
  [
    'src/algorithms/one.ts',
    "import { y } from './two.ts';\nexport const x = () => y;",
    'import(no-cycle)',
  ],
  [
    'src/algorithms/two.ts',
    "import { x } from './one.ts';\nexport const y = () => x;",
    'import(no-cycle)',
  ],
  // An unawaited promise loses a decision.
  [
    'src/lost.ts',
    'export function f(p: Promise<void>): void {\n  p;\n}',
    'typescript(no-floating-promises)',
  ],
  [
    'src/misused.ts',
    'export const f = (p: Promise<boolean>) => (p ? 1 : 2);',
    'typescript(no-misused-promises)',
  ],
  // A case made by Math.random cannot be repeated, and does not shrink.
  ['test/chance.ts', 'export const x = Math.random();', 'eslint(no-restricted-properties)'],
  [
    'test/second.ts',
    "import { property } from 'fast-check';\nexport const x = property;",
    'eslint(no-restricted-imports)',
  ],
  ['src/wasted.ts', 'export const f = async () => {\n  await 1;\n};', 'typescript(await-thenable)'],
];

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'distributed-rate-limiter-lint-'));
let diagnostics: readonly Diagnostic[] = [];

beforeAll(() => {
  for (const config of ['.oxlintrc.json', 'tsconfig.json']) {
    copyFileSync(path.join(root, config), path.join(folder, config));
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  for (const [file, code] of refused) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), `${code}\n`);
  }
  const oxlint = path.join(root, 'node_modules/oxlint/bin/oxlint');
  const { stdout } = spawnSync(process.execPath, [oxlint, '--format=json', 'src', 'test'], {
    cwd: folder,
    encoding: 'utf8',
  });
  diagnostics = JSON.parse(stdout).diagnostics;
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const codesOf = (file: string): string[] =>
  diagnostics.filter(({ filename }) => filename === file).map(({ code }) => code);

describe('lint refuses', () => {
  test.each(refused)('%s: %s', (file, _code, rule) => {
    const found = codesOf(file).filter((name) => name === rule);
    expect(found).toHaveLength(1);
  });
});
