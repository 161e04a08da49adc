/**
 * Makes the relative links of README.md absolute, because the package's page on npm has no other files beside it. The
 * release runs this script before it publishes; the README in the repository stays relative.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { root } from './bootstrap.mjs';

/** @param {string} markdown @param {string} repository its URL @param {string} revision */
export function absoluteLinks(markdown, repository, revision) {
  return markdown.replace(/(!?\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)/g, (_, before, target) => {
    const kind = before.startsWith('!') ? 'raw' : 'blob';
    return `${before}${repository}/${kind}/${revision}/${target}`;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const file = path.join(root, 'README.md');
  const { homepage, version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const repository = homepage.replace(/#.*$/, '');
  writeFileSync(file, absoluteLinks(readFileSync(file, 'utf8'), repository, `v${version}`));
}
