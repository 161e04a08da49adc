/** Reads the documents as the repository's host does: its anchors, its links. */
import path from 'node:path';
import { root, targetOf } from './pages.mjs';

/**
 * The anchor of a heading, as the repository's host makes it.
 *
 * @param {string} heading
 */
export function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
    .replaceAll(' ', '-');
}

/**
 * A document's path from the repository's folder.
 *
 * @param {{ realPath?: string, path: string }} env
 */
function documentOf(env) {
  return path.relative(root, env.realPath ?? env.path).replaceAll(path.sep, '/');
}

/**
 * Two pictures in place of one `picture`: the reader chooses the scheme in the site, not the system alone. Gives the
 * paths the `./` that the bundler needs to see that they are files.
 *
 * @param {string} html
 */
function withPictures(html) {
  return html
    .replace(
      /<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*<img ([^>]*?)src="([^"]+)"([^>]*)>\s*<\/picture>/g,
      '<img class="only-dark" $2src="$1"$4><img class="only-light" $2src="$3"$4>',
    )
    .replaceAll(/\bsrc="(?![./]|[a-z]+:)/g, 'src="./');
}

/**
 * Leads each relative link to its page, or to the file on the repository's host; and gives a table that is wider than
 * the page a scroll bar of its own, which the keyboard reaches.
 *
 * @param {import('vitepress').MarkdownRenderer} md
 */
export function asInTheRepository(md) {
  md.core.ruler.push('links-of-the-repository', ({ tokens, env }) => {
    for (const token of tokens) {
      if (token.type === 'html_block') token.content = withPictures(token.content);
    }
    for (const [i, token] of tokens.entries()) {
      // The corner of a table heads nothing.
      if (token.type === 'th_open' && tokens[i + 1]?.content === '') {
        token.tag = 'td';
        if (tokens[i + 2] !== undefined) tokens[i + 2].tag = 'td';
      }
    }
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === 'link_open' ? token.attrGet('href') : null;
      if (href !== null && !/^(?:[a-z]+:|\/|#)/i.test(href)) {
        token.attrSet('href', targetOf(documentOf(env), href));
      }
    }
  });
  md.renderer.rules['table_open'] = () => '<div class="table" tabindex="0"><table>\n';
  md.renderer.rules['table_close'] = () => '</table></div>\n';
}
