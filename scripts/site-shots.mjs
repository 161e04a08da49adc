/**
 * `npm run site:shots` builds the site and takes pictures of its main pages, on a phone and on a desk, light and dark,
 * into site/shots. `npm run site:shots -- errors demo` takes those of other pages.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { ensurePackages, root } from './bootstrap.mjs';
import { buildSite } from './site.mjs';

const MAIN = ['index', 'which-limit', 'api/express', 'comparison', 'playground'];
const WIDTHS = [360, 1440];

ensurePackages();
// They need packages, which may just have been installed.
const { chromium } = await import('playwright-core');
const { ensureChromium } = await import('../test/kit/servers/chromium.mjs');
const { serveSite } = await import('../test/system/site/served.mjs');

const given = process.argv.slice(2);
buildSite();
const folder = path.join(root, 'site/shots');
mkdirSync(folder, { recursive: true });
const site = await serveSite();
const browser = await chromium.launch({ executablePath: ensureChromium() });
for (const name of given.length > 0 ? given : MAIN) {
  for (const width of WIDTHS) {
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      const viewport = { width, height: 900 };
      const page = await browser.newPage({ viewport, colorScheme, reducedMotion: 'reduce' });
      await page.goto(`${site.origin}/${name}.html`, { waitUntil: 'networkidle' });
      const file = `${name.replaceAll('/', '-')}-${width}-${colorScheme}.png`;
      await page.screenshot({ path: path.join(folder, file) });
      await page.close();
    }
  }
}
await browser.close();
await site.close();
console.log(`The pictures are in ${path.relative(process.cwd(), folder)}.`);
