import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

const pages = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'examples/README.md',
  ...readdirSync(path.join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file.replaceAll(path.sep, '/')}`)
    .toSorted(),
];

function read(page: string): string {
  return readFileSync(path.join(root, page), 'utf8');
}

/** A page's text without its code. */
function proseOf(page: string): string {
  return read(page).replaceAll(/^ *```.*?^ *```/gms, '');
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): readonly string[] {
  return Array.from(proseOf(page).matchAll(/^#+ (.*)$/gm), ([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Files and anchors of this repository that a page links to, as paths from the root. */
function linksOf(page: string): readonly { readonly file: string; readonly anchor: string }[] {
  const links = proseOf(page)
    .replaceAll(/`[^`\n]*`/g, '')
    .matchAll(/\]\((?!https?:)([^)#]*)#?([^)]*)\)/g);
  return Array.from(links, ([, file = '', anchor = '']) => ({
    file: file === '' ? page : path.posix.join(path.posix.dirname(page), file),
    anchor,
  }));
}

test.each(pages)('every link of %s leads to a file and a heading', (page) => {
  const broken = linksOf(page).filter(
    ({ file, anchor }) =>
      !existsSync(path.join(root, file)) || (anchor !== '' && !anchorsOf(file).includes(anchor)),
  );
  expect(broken).toEqual([]);
});

test('the index links to every page of docs', () => {
  const linked = new Set(linksOf('docs/README.md').map(({ file }) => file));
  const unlinked = pages.filter(
    (page) => page.startsWith('docs/') && page !== 'docs/README.md' && !linked.has(page),
  );
  expect(unlinked).toEqual([]);
});
