import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(path.join(root, 'ARCHITECTURE.md'), 'utf8');
const tree = /^```\nsrc\/\n(.*?)^```$/ms.exec(page)?.[1] ?? '';

/** The paths in the tree of ARCHITECTURE.md, relative to `src`, in the order of its lines. */
function filesOf(lines: string): readonly string[] {
  let folder = '';
  return lines.split('\n').flatMap((line) => {
    const [indent = '', ...names] = line.match(/^ +|[\w./-]+\.(?:ts|lua)(?= |$)/g) ?? [];
    const heading = /^ {2}([\w/-]+\/)(?: |$)/.exec(line)?.[1];
    if (heading !== undefined) {
      folder = heading;
      return [];
    }
    return names.map((name) => (indent.length === 2 ? name : `${folder}${name}`));
  });
}

describe('the tree in ARCHITECTURE.md', () => {
  test('names every file of src once, in its folder, and no other', () => {
    const files = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .map((file) => file.replaceAll(path.sep, '/'))
      .filter((file) => /\.(?:ts|lua)$/.test(file));
    expect(filesOf(tree).toSorted()).toEqual(files.toSorted());
  });

  test('describes every file of src', () => {
    const bare = tree.split('\n').filter((line) => /\.(?:ts|lua)$/.test(line));
    expect(bare).toEqual([]);
  });
});

/** Whether a file or folder has this path. A `*` in its last part matches anything. */
function exists(name: string): boolean {
  const [before = '', after] = path.basename(name).split('*');
  return after === undefined
    ? existsSync(path.join(root, name))
    : readdirSync(path.join(root, path.dirname(name))).some(
        (file) => file.startsWith(before) && file.endsWith(after),
      );
}

describe('the rest of ARCHITECTURE.md', () => {
  const rest = page.replace(tree, '');

  test('names only files that exist, from src or from the root', () => {
    const named = rest.matchAll(/(?<=[\s`(])[\w./-]+\.(?:ts|mjs|lua|md)(?=[\s`),]|$)/g);
    const files = Array.from(named, ([name]) => name);
    expect(files.length).toBeGreaterThan(20);
    expect(files.filter((file) => !exists(file) && !exists(`src/${file}`))).toEqual([]);
  });

  test('names only folders and patterns of files that exist', () => {
    const named = rest.matchAll(/`((?:test|src|ops|demo)\/[^`]*)`/g);
    const paths = Array.from(named, ([, name = '']) => name);
    expect(paths.length).toBeGreaterThan(20);
    expect(paths.filter((name) => !exists(name))).toEqual([]);
  });
});
