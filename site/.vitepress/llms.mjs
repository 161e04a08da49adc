/** The pages as plain Markdown: each beside its page, a list of them in llms.txt, and all in llms-full.txt. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { addressOf, root, targetOf } from './pages.mjs';

/**
 * @param {string} file of a document, from the repository's folder
 * @param {string} base of the site's addresses
 */
function markdownOf(file, base) {
  const text = readFileSync(path.join(root, file), 'utf8');
  return text
    .split(/(^ *```[^]*?^ *```)/m)
    .map((part, i) => (i % 2 === 1 ? part : withLinks(part, file, base)))
    .join('');
}

/** @param {string} text @param {string} file @param {string} base */
function withLinks(text, file, base) {
  return text
    .replaceAll(/^<!--[^]*?-->\n/gm, '')
    .replaceAll(/(?<!!)(\[[^\]]*\]\()(?![a-z]+:|\/|#)([^)\s]+)\)/g, (_, before, link) => {
      const [, address = '', anchor = ''] = /^([^#]*)(#.*)?$/.exec(targetOf(file, link)) ?? [];
      const target = address.startsWith('/') ? base + fileOf(address) : address;
      return `${before}${target}${anchor})`;
    });
}

/** @param {string} address of a page @returns {string} the file of its Markdown */
function fileOf(address) {
  return `${address.slice(1)}${address.endsWith('/') ? 'index' : ''}.md`;
}

/** @param {import('vitepress').SiteConfig} site */
export function writeMarkdown({ pages, outDir, site, rewrites }) {
  const base = site.base;
  const full = [];
  for (const page of pages) {
    const from = rewrites.inv[page] ?? page;
    if (from.startsWith('site/pages/')) continue;
    const text = markdownOf(from, base);
    const file = path.join(outDir, fileOf(addressOf(from) ?? `/${page}`));
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    if (!from.startsWith('site/')) full.push(text);
  }
  const index = markdownOf('docs/README.md', base).replace(
    '# Documentation\n',
    `# ${site.title}\n\n> ${site.description}\n\n- [Overview](${base}index.md): what it does, with examples\n- [API](${base}api/index.md): one page per entry of the package\n`,
  );
  writeFileSync(path.join(outDir, 'llms.txt'), index);
  writeFileSync(path.join(outDir, 'llms-full.txt'), full.join('\n\n'));
}
