/** Builds the site and reads it: as files, and in a Chromium that reaches no other host. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../../scripts/bootstrap.mjs';
import { buildSite } from '../../../scripts/site.mjs';
import { ensureChromium, waitUntil } from '../../kit/servers/index.mjs';
import { dist, serveSite, siteFiles } from './served.mjs';

let browser: Browser;
let site: Awaited<ReturnType<typeof serveSite>>;
let axe = '';
// The build installs its tools first, and the first run on a machine may have to install the browser.
beforeAll(async () => {
  buildSite();
  axe = readFileSync(path.join(root, 'site/node_modules/axe-core/axe.min.js'), 'utf8');
  site = await serveSite();
  browser = await chromium.launch({ executablePath: ensureChromium() });
}, 900_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A tab whose requests to other hosts are refused, and what went wrong in it. */
async function open(address: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options);
  cleanups.push(() => context.close());
  const troubles: string[] = [];
  await context.route(
    (url) => url.origin !== site.origin,
    async (route) => {
      troubles.push(`asks ${route.request().url()}`);
      await route.abort();
    },
  );
  const page = await context.newPage();
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('response', (response) => {
    if (response.status() >= 400) troubles.push(`${response.status()} for ${response.url()}`);
  });
  await page.goto(`${site.origin}${address}`, { waitUntil: 'networkidle' });
  return { page, troubles };
}

const SHOWN = [
  '/',
  '/which-limit.html',
  '/api/express.html',
  '/comparison.html',
  '/playground.html',
];

test.each(SHOWN)('%s shows without an error and asks no other host', async (address) => {
  const { troubles } = await open(address);
  expect(troubles).toEqual([]);
});

test('the browser would report a request to another host', async () => {
  const { page, troubles } = await open('/');
  await page.evaluate('fetch("https://example.com/").catch(() => undefined)');
  expect(troubles).toEqual(['asks https://example.com/']);
});

describe('links', () => {
  const attributesOf = (html: string, name: string): string[] =>
    Array.from(html.matchAll(new RegExp(`\\s${name}="([^"]*)"`, 'g')), ([, value = '']) =>
      value.replaceAll('&amp;', '&'),
    );

  test('every link and picture of every page leads to a page, an anchor or a file', () => {
    const pages = new Map(
      siteFiles('.html').map((file) => [`/${file}`, readFileSync(path.join(dist, file), 'utf8')]),
    );
    const anchors = new Map(
      [...pages].map(([page, html]) => [page, new Set(attributesOf(html, 'id'))]),
    );
    const isDead = (from: string, link: string): boolean => {
      const url = new URL(link, `http://site${from}`);
      if (url.host !== 'site') return url.protocol !== 'https:' || !isInRepository(url);
      const file = decodeURI(url.pathname).replace(/\/$/, '/index.html');
      const anchor = decodeURIComponent(url.hash.slice(1));
      if (anchor !== '') return anchors.get(file)?.has(anchor) !== true;
      return !existsSync(path.join(dist, file));
    };
    expect(pages.size).toBeGreaterThan(50);
    const dead = [...pages].flatMap(([page, html]) =>
      [...new Set([...attributesOf(html, 'href'), ...attributesOf(html, 'src')])]
        .filter((link) => isDead(page, link))
        .map((link) => `${page}: ${link}`),
    );
    expect(dead).toEqual([]);
  });

  /** A file or folder of the repository's host must be in the repository; other addresses are not asked. */
  function isInRepository({ href }: URL): boolean {
    const named = /\/distributed-rate-limiter\/(?:blob|tree)\/main\/([^#]+)/.exec(href)?.[1];
    return named === undefined || existsSync(path.join(root, decodeURI(named)));
  }

  test('llms.txt lists the pages, which are there as Markdown', () => {
    const text = readFileSync(path.join(dist, 'llms.txt'), 'utf8');
    const files = Array.from(text.matchAll(/\]\(\/([^)#]+)\)/g), ([, file = '']) => file);
    expect(files.length).toBeGreaterThan(35);
    expect(files.filter((file) => !existsSync(path.join(dist, file)))).toEqual([]);
    const full = readFileSync(path.join(dist, 'llms-full.txt'), 'utf8');
    const titles = files
      .filter((file) => !file.startsWith('api/'))
      .map((file) => readFileSync(path.join(dist, file), 'utf8').split('\n')[0]!);
    expect(titles.filter((title) => !full.includes(title))).toEqual([]);
  });

  test('the API reference has a page for each entry of the package', () => {
    const { exports } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    const entries = Object.keys(exports).filter((entry) => entry !== './package.json');
    const wanted = entries.map((entry) => entry.replace(/^\.$/, './distributed-rate-limiter'));
    const missing = wanted.filter((entry) => !existsSync(path.join(dist, 'api', `${entry}.html`)));
    expect(missing).toEqual([]);
  });
});

const SCREENS = [360, 1440].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

describe.each(SCREENS)('at $width pixels in the $colorScheme scheme', ({ width, colorScheme }) => {
  test('axe finds nothing, and no page scrolls sideways', async () => {
    const { page } = await open('/', { viewport: { width, height: 800 }, colorScheme });
    for (const address of [...SHOWN, '/reference.html', '/errors.html']) {
      await page.goto(`${site.origin}${address}`, { waitUntil: 'networkidle' });
      expect.soft(await sidewaysOf(page), address).toBe(0);
      await page.evaluate(axe);
      expect.soft(await page.evaluate(FINDINGS), address).toEqual([]);
    }
  });
});

function sidewaysOf(page: Page): Promise<unknown> {
  return page.evaluate('document.documentElement.scrollWidth - innerWidth');
}

/** What axe finds, as `rule: the elements`. */
const FINDINGS = `axe.run().then(({ violations }) =>
  violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html }) => html).join(' ')))`;

describe('by keyboard', () => {
  const focused = 'document.activeElement.textContent.trim()';

  test('the first stop skips to the content', async () => {
    const { page } = await open('/which-limit.html');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(focused)).toBe('Skip to content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('VPContent');
  });

  test.each(['/', 'Control+k'])('%s opens the search, which finds a page', async (key) => {
    const { page, troubles } = await open('/which-limit.html');
    await page.keyboard.press(key);
    await page.locator('#localsearch-input').waitFor();
    await page.keyboard.type('sliding window error');
    await page.locator('#localsearch-list a').first().waitFor();
    await page.keyboard.press('Enter');
    await waitUntil('the page that was found', () => !page.url().endsWith('/which-limit.html'));
    expect(troubles).toEqual([]);
  });

  test('the groups of the sidebar open, and their links lead on', async () => {
    const { page } = await open('/getting-started.html', {
      viewport: { width: 1440, height: 900 },
    });
    const link = page.locator('.VPSidebar a', { hasText: 'express-rate-limit' });
    expect(await link.isVisible()).toBe(false);
    await page.locator('.VPSidebar .caret').first().focus();
    await page.keyboard.press('Enter');
    await link.waitFor();
    await link.focus();
    await page.keyboard.press('Enter');
    await page.waitForURL('**/coming-from/express-rate-limit.html');
  });
});
