/** Which files of the repository are pages of the site, and where. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

const { repository } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** The repository's address. */
export const repositoryUrl = repository.url.replace(/^git\+/, '').replace(/\.git$/, '');

/**
 * Pages by their place in the repository. The site has no file of its own for what a document already says, so a change
 * of a document changes both.
 */
export const rewrites = {
  'README.md': 'index.md',
  'ARCHITECTURE.md': 'architecture.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security.md',
  'examples/README.md': 'examples.md',
  'docs/README.md': 'contents.md',
  'docs/coming-from/README.md': 'coming-from/index.md',
  'docs/:page*': ':page*',
  'site/pages/:page*': ':page*',
  'site/api/:page*': 'api/:page*',
};

/** Files of the repository that are no pages. */
export const notPages = [
  'bench/**',
  'demo/**',
  'examples/*/**',
  'ops/**',
  'site/*.md',
  'site/playground/**',
  'src/**',
  'test/**',
];

/** @type {readonly (readonly [RegExp, string])[]} */
const places = [
  [/^README\.md$/, '/'],
  [/^(ARCHITECTURE|CHANGELOG|CONTRIBUTING|SECURITY)\.md$/, '/$1'],
  [/^examples\/README\.md$/, '/examples'],
  [/^docs\/README\.md$/, '/contents'],
  [/^docs\/(.+\/)README\.md$/, '/$1'],
  [/^(?:docs|site\/pages)\/(.+)\.md$/, '/$1'],
  [/^site\/api\/index\.md$/, '/api/'],
  [/^site\/api\/(.+)\.md$/, '/api/$1'],
];

/**
 * The address in the site of a file of the repository.
 *
 * @param {string} file from the repository's folder
 * @returns {string | undefined} undefined: the file is no page
 */
export function addressOf(file) {
  const place = places.find(([pattern]) => pattern.test(file));
  if (place === undefined) return undefined;
  const address = file.replace(...place);
  return /^[A-Z]/.test(file) ? address.toLowerCase() : address;
}

/**
 * Where a link in a document leads in the site: to a page, or to the file on the repository's host.
 *
 * @param {string} from the document, from the repository's folder
 * @param {string} link relative, as the repository's host follows it
 * @throws where the repository has no such file
 */
export function targetOf(from, link) {
  const [, pathname = '', anchor = ''] = /^([^#]*)(#.*)?$/.exec(link) ?? [];
  const file = path.posix.join(path.posix.dirname(from), decodeURI(pathname)).replace(/\/$/, '');
  const address = addressOf(file);
  if (address !== undefined) return `${address}${anchor}`;
  if (!existsSync(path.join(root, file))) throw new Error(`${from} links to ${link}: no such file`);
  const kind = statSync(path.join(root, file)).isDirectory() ? 'tree' : 'blob';
  return `${repositoryUrl}/${kind}/main/${file}${anchor}`;
}
