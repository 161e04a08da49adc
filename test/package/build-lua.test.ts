import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { INCLUDES } from '../../scripts/build-lua.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the build of the script', () => {
  let copy: string;

  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'drl-lua-'));
    for (const path of ['package.json', 'scripts/build-lua.mjs', 'src/algorithms', 'src/script']) {
      cpSync(join(root, path), join(copy, path), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  });

  afterEach(() => {
    rmSync(copy, { recursive: true, force: true });
  });

  function build(...args: string[]): { status: number | null; stderr: string } {
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(copy, 'scripts/build-lua.mjs'), ...args],
      { encoding: 'utf8' },
    );
    return { status, stderr };
  }

  function edit(path: string, change: (text: string) => string): void {
    const file = join(copy, path);
    const before = readFileSync(file, 'utf8');
    const after = change(before);
    expect(after, `the edit of ${path} changes something`).not.toBe(before);
    writeFileSync(file, after);
  }

  test('finds the generated file current and leaves it untouched', () => {
    expect(build('--check')).toStrictEqual({ status: 0, stderr: '' });
    expect(build()).toStrictEqual({ status: 0, stderr: '' });
    expect(readFileSync(join(copy, 'src/script/script.gen.ts'), 'utf8')).toBe(
      readFileSync(join(root, 'src/script/script.gen.ts'), 'utf8'),
    );
  });

  test.each(INCLUDES)('finds the generated file stale when %s.lua has changed', (include) => {
    edit(`src/${include}.lua`, (text) =>
      `${text}local added = 1\n`.replace(
        'return out\nlocal added = 1',
        'local added = 1\nreturn out',
      ),
    );
    const { status, stderr } = build('--check');
    expect(stderr).toMatch(/script\.gen\.ts is stale/);
    expect(status).toBe(1);
  });

  test('finds a file edited by hand stale until it is built again', () => {
    edit('src/script/script.gen.ts', (text) => text.replace('1000000', '1000001'));
    expect(build('--check').status).toBe(1);
    expect(build()).toStrictEqual({ status: 0, stderr: '' });
    expect(build('--check').status).toBe(0);
  });

  test.each([
    ['an assignment', 'leaked = 1'],
    ['a read', 'local x = undeclared'],
    ['a call', 'os.exit()'],
    ['a misspelt local', 'local function f(plan) return plann end'],
    ['a source of other data', 'math.floor(rand())'],
  ])('rejects an undeclared global: %s', (_, line) => {
    edit('src/algorithms/token-bucket.lua', (text) => `${text}${line}\n`);
    const { status, stderr } = build('--check');
    expect(stderr).toMatch(/undeclared globals in the script: (leaked|undeclared|os|plann|rand)\n/);
    expect(status).not.toBe(0);
  });

  test.each(INCLUDES)('rejects %s.lua without a header', (include) => {
    edit(`src/${include}.lua`, (text) => text.replace(/^--\[\[[\s\S]*?\]\]\n/, ''));
    const { status, stderr } = build('--check');
    expect(stderr).toContain(`${include}.lua: begins with no header`);
    expect(status).not.toBe(0);
  });

  test.each(['In: ', 'Out:'])('rejects a header that does not say what goes %s', (word) => {
    edit('src/script/decide.lua', (text) => text.replace(`  ${word}`, '      '));
    expect(build('--check').stderr).toContain('decide.lua: begins with no header');
  });

  test.each([
    ['a name that the code does not use', 'Uses: now, ', 'Uses: now, rest, ', 'lists rest'],
    ['no name that the code uses', 'Uses: now, ', 'Uses: ', 'lacks now'],
    ['a name that a later include declares', 'Uses: now, ', 'Uses: now, verbs, ', 'lists verbs'],
  ])('rejects a header whose `Uses:` lists %s', (_, from, to, problem) => {
    edit('src/algorithms/token-bucket.lua', (text) => text.replace(from, to));
    const { status, stderr } = build('--check');
    expect(stderr).toContain(`token-bucket.lua: ${problem}\n`);
    expect(status).not.toBe(0);
  });

  test('rejects an include that uses earlier names without a `Uses:` header', () => {
    edit('src/script/write.lua', (text) => text.replace(/ {2}Uses: .*\n/, ''));
    expect(build('--check').stderr).toContain('write.lua: lacks homes; ');
  });

  test('rejects a syntax error', () => {
    edit('src/script/write.lua', (text) => text.replace('return out', 'return out out'));
    expect(build('--check').status).not.toBe(0);
  });
});
