/** The sidebar is the list of pages in docs/README.md, so that the site and the repository have the same groups. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { entries } from '../typedoc-entries.mjs';
import { root, targetOf } from './pages.mjs';

const INDEX = 'docs/README.md';

/** @returns {import('vitepress').DefaultTheme.SidebarItem[]} */
export function sidebar() {
  return readFileSync(path.join(root, INDEX), 'utf8')
    .split(/^## /m)
    .slice(1)
    .map((group) => {
      const [text = '', ...lines] = group.split('\n');
      const items = lines.filter((line) => line.startsWith('- ')).map(itemOf);
      return { text, items: [...items, ...(onlyHere[text] ?? [])] };
    });
}

/**
 * Pages that the repository does not have, by their group.
 *
 * @type {Readonly<Record<string, import('vitepress').DefaultTheme.SidebarItem[]>>}
 */
const onlyHere = {
  Start: [{ text: 'Playground', link: '/playground' }],
  Reference: [
    {
      text: 'API',
      link: '/api/',
      collapsed: true,
      items: [...entries.values()].map((entry) => ({ text: entry, link: `/api/${entry}` })),
    },
  ],
};

/**
 * The first link of a line is the page; the links after it are pages below that one, if the line has nothing else.
 *
 * @param {string} line
 */
function itemOf(line) {
  const [first, ...below] = Array.from(line.matchAll(/\[([^\]]+)\]\(([^)]+)\)/g), (match) => ({
    text: match[1]?.replaceAll('`', '') ?? '',
    link: targetOf(INDEX, match[2] ?? ''),
  }));
  if (first === undefined) throw new Error(`${INDEX}: no link in '${line}'`);
  return below.length > 0 ? { ...first, collapsed: true, items: below } : first;
}
