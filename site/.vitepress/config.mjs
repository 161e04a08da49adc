import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { playground } from '../playground/vite.ts';
import { writeMarkdown } from './llms.mjs';
import { anchorOf, asInTheRepository } from './markdown.mjs';
import { notPages, repositoryUrl, rewrites } from './pages.mjs';
import { sidebar } from './sidebar.mjs';

const here = fileURLToPath(import.meta.url);

/**
 * The documents are above the folder that has the site's packages, so Vue is looked up from here for them.
 *
 * @type {import('vite').Plugin}
 */
const vueForDocuments = {
  name: 'vue-for-documents',
  enforce: 'pre',
  resolveId(id, importer, { ssr }) {
    if (!/^vue(?:\/|$)/.test(id) || importer === undefined || importer === here) return undefined;
    // Node loads what renders the pages from a folder beside this file.
    if (ssr) return { id, external: true };
    return this.resolve(id, here, { skipSelf: true });
  },
};

const description =
  'Exact rate limiting for Node.js that any number of processes share through Redis.';

export default defineConfig({
  title: 'distributed-rate-limiter',
  description,
  lang: 'en',
  srcDir: '..',
  outDir: 'dist',
  srcExclude: notPages,
  rewrites,
  cleanUrls: false,
  lastUpdated: false,
  buildEnd: writeMarkdown,
  transformPageData(page) {
    // Its tables have a column for each library, and need the room.
    if (page.relativePath === 'comparison.md') page.frontmatter['aside'] = false;
  },
  markdown: {
    anchor: { slugify: anchorOf },
    config: asInTheRepository,
    theme: { light: 'github-light-high-contrast', dark: 'github-dark-high-contrast' },
  },
  vite: {
    plugins: [vueForDocuments, playground()],
    // The index of the search, and the API of the main entry, are each one file that is loaded when it is asked for.
    build: { chunkSizeWarningLimit: 2_000 },
  },
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Start', link: '/getting-started' },
      { text: 'Reference', link: '/reference' },
      { text: 'API', link: '/api/' },
      { text: 'Comparison', link: '/comparison' },
      { text: 'Playground', link: '/playground' },
    ],
    sidebar: sidebar(),
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: repositoryUrl, ariaLabel: 'Repository' }],
    docFooter: { prev: false, next: false },
  },
});
