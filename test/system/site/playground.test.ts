/** The playground in a Chromium that reaches no other host. */
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../../scripts/bootstrap.mjs';
import { readLimitText } from '../../../src/cli/limits/limit-text.ts';
import { MemoryStore, RateLimiter } from '../../../src/index.ts';
import { ManualClock } from '../../../src/testing/index.ts';
import { makeRequests } from '../../../site/playground/engine/requests.ts';
import { ensureChromium, waitUntil } from '../../kit/servers/index.mjs';
import { buildPlayground } from './playground/build.mjs';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
};

let folder = '';
let origin = '';
let browser: Browser;
let axe = '';
const server = createServer((request, response) => {
  const file = new URL(request.url ?? '/', 'http://page').pathname.replace(/\/$/, '/index.html');
  const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
  response.writeHead(200, { 'content-type': type }).end(readFileSync(path.join(folder, file)));
});
// The build installs its tools first, and the first run on a machine may have to install the browser.
beforeAll(async () => {
  folder = await buildPlayground();
  axe = readFileSync(path.join(root, 'site/node_modules/axe-core/axe.min.js'), 'utf8');
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await chromium.launch({ executablePath: ensureChromium() });
}, 900_000);
afterAll(async () => {
  await browser?.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A tab with the playground, and what went wrong in it. */
async function open(hash = '', options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options);
  cleanups.push(() => context.close());
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') troubles.push(message.text());
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && !['blob:', 'data:'].includes(url.protocol)) {
      troubles.push(`asks ${request.url()}`);
    }
  });
  await page.goto(`${origin}/${hash}`);
  await page.locator('.pg-figures').first().waitFor();
  return { page, troubles };
}

/** The totals of a policy as they are shown. */
async function figures(page: Page, policy: number): Promise<Record<string, string>> {
  const [names, values] = await Promise.all([
    page.locator('.pg-figures').nth(policy).locator('dt').allTextContents(),
    page.locator('.pg-figures').nth(policy).locator('dd').allTextContents(),
  ]);
  return Object.fromEntries(names.map((name, i) => [name, values[i]!]));
}

async function shows(page: Page, policy: number, wanted: Record<string, string>) {
  let last: Record<string, string> = {};
  await waitUntil(`policy ${policy} to show ${JSON.stringify(wanted)}`, async () => {
    last = await figures(page, policy);
    return Object.entries(wanted).every(([name, value]) => last[name] === value);
  }).catch((error: unknown) => {
    throw new Error(`it shows ${JSON.stringify(last)}`, { cause: error });
  });
}

const EDGE_FIXED = { admitted: '400 of 400', 'most admitted in any 1m': '200' };

test('at first shows how a window’s edge lets twice the limit pass, and asks no other host', async () => {
  const { page, troubles } = await open();
  await shows(page, 0, { ...EDGE_FIXED, refused: '0 %' });
  await shows(page, 2, { 'most admitted in any 1m': '36', 'callers refused': '1 of 1' });
  expect(troubles).toEqual([]);
});

test('a limit that is typed as text changes the fields, the totals and the code', async () => {
  const { page, troubles } = await open();
  await page.getByLabel('Policy 1 as text').fill('50/1m fixed');
  await shows(page, 0, { 'most admitted in any 1m': '100' });
  const policy = page.getByRole('group', { name: 'Policy 1' });
  expect(await policy.getByLabel('Rate').inputValue()).toBe('50');
  await policy.getByText('Code', { exact: true }).click();
  expect(await policy.locator('code').textContent()).toContain(
    "algorithm: 'fixed_window',\n  rate: 50,",
  );
  await policy.getByLabel('Algorithm').selectOption('Token bucket');
  await policy.getByLabel('Burst').fill('5');
  expect(await page.getByLabel('Policy 1 as text').inputValue()).toBe('50/1m burst 5');
  await shows(page, 0, { 'most admitted in any 1m': '13' });
  expect(troubles).toEqual([]);
});

test('the library’s own error stands at the field that it is about', async () => {
  const { page } = await open();
  const policy = page.getByRole('group', { name: 'Policy 1' });
  await policy.getByLabel('Period').fill('1 week');
  const period = policy.getByLabel('Period');
  expect(await period.getAttribute('aria-invalid')).toBe('true');
  const told = await page
    .locator(`[id="${await period.getAttribute('aria-describedby')}"]`)
    .textContent();
  expect(told).toMatch(/^period must be a duration such as '250ms', .* got "1 week"\./);
  await period.fill('1m');
  expect(await period.getAttribute('aria-invalid')).toBe('false');
});

test('by keyboard alone one reads an instant and adds a policy', async () => {
  const { page } = await open();
  const focused = () => page.evaluate<string>('document.activeElement.getAttribute("aria-label")');
  for (let i = 0; (await focused()) !== 'Instant in the chart of 100/1m fixed'; i++) {
    expect(i).toBeLessThan(60);
    await page.keyboard.press('Tab');
  }
  const slider = page.getByRole('slider').first();
  await page.keyboard.press('Home');
  expect(await slider.getAttribute('aria-valuetext')).toBe('0 s');
  for (let i = 0; i < 6; i++) await page.keyboard.press('PageUp');
  await page.keyboard.press('ArrowLeft');
  expect(await slider.getAttribute('aria-valuetext')).toBe('59 s');
  const status = page.locator('[aria-live=polite]');
  await waitUntil('the values to be told', async () =>
    /^59 s\. 100\/1m fixed: 20 admitted, 0 refused, \d+ left, a request would pass\. 100\/1m sliding: /.test(
      (await status.textContent()) ?? '',
    ),
  );
  await page.keyboard.press('Escape');
  expect(await status.textContent()).toBe('');
  for (let i = 0; (await page.locator(':focus').textContent())?.trim() !== 'Add a policy'; i++) {
    expect(i).toBeLessThan(60);
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await shows(page, 3, { 'most admitted in any 1m': '36' });
});

test('its address alone gives the same picture in another tab', async () => {
  const { page } = await open();
  await page.getByLabel('Policy 2 as text').fill('7/1s, 90/1m log');
  await page.getByLabel('Call', { exact: true }).selectOption('at random');
  await page.getByLabel('For', { exact: true }).fill('10m');
  await page.getByRole('slider').nth(1).press('PageUp');
  await waitUntil('the address', () => /for=10m.*at=/.test(page.url()));
  await waitUntil(
    'the totals',
    async () => (await figures(page, 0))['callers refused'] === '1 of 1',
  );
  const charts = (tab: Page) =>
    tab.evaluate<string[]>(
      "Array.from(document.querySelectorAll('.pg-canvas'), (each) => each.innerHTML)",
    );
  await waitUntil(
    'the charts',
    async () => (await page.locator('.pg-said').first().textContent()) !== '',
  );
  const { page: other } = await open(new URL(page.url()).hash);
  expect(await other.getByLabel('Policy 2 as text').inputValue()).toBe('7/1s, 90/1m log');
  const shown = await charts(page);
  expect(shown).toHaveLength(3);
  expect(await charts(other)).toEqual(shown);
  expect(await figures(other, 1)).toEqual(await figures(page, 1));
});

test('all decisions of the page are those of a RateLimiter on a MemoryStore', async () => {
  const policies = ['10/1s burst 3, 100/1m sliding', '60/1m fixed', '5/1s log', '30/1m'];
  const traffics = ['20 callers poisson 40/1m', '2 callers bursts of 90 every 20s'];
  const said = new URLSearchParams([
    ...policies.map((each) => ['limit', each] as [string, string]),
    ...traffics.map((each) => ['traffic', each] as [string, string]),
    ['for', '3m'],
    ['seed', '7'],
  ]);
  const { page } = await open(`#${said.toString()}`);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Save all decisions' }).click(),
  ]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trimEnd()
    .split('\n');
  const { count, at, caller, names } = makeRequests({ traffics, lengthMs: 180_000, seed: 7 });
  expect(lines).toHaveLength(count);
  const own = policies.map((policy) => {
    const clock = new ManualClock();
    const limits = readLimitText(policy);
    return {
      policy,
      clock,
      limiter: new RateLimiter({ store: new MemoryStore({ clock }), limits }),
    };
  });
  let refused = 0;
  const wanted: string[] = [];
  for (let i = 0; i < count; i++) {
    const decisions: Record<string, unknown> = {};
    for (const { policy, clock, limiter } of own) {
      clock.set(at[i]! / 1_000);
      const decision = await limiter.allow(names[caller[i]!]!);
      refused += decision.allowed ? 0 : 1;
      decisions[policy] = decision;
    }
    wanted.push(JSON.stringify({ atMicros: at[i], caller: names[caller[i]!], decisions }));
  }
  expect(count).toBeGreaterThan(2_000);
  expect(refused).toBeGreaterThan(1_000);
  expect(lines).toEqual(wanted);
});

describe('a log', () => {
  const START = Date.UTC(2026, 9, 10, 12);
  const lines = Array.from({ length: 3_000 }, (_, i) => {
    const time = new Date(START + i * 100).toISOString().slice(11, 19);
    const host = i % 3 === 0 ? '192.0.2.1' : `198.51.100.${i % 200}`;
    return `${host} - - [10/Oct/2026:${time} +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"`;
  });
  lines.splice(70, 0, 'not a line');

  test.each([
    ['access.log', Buffer.from(lines.join('\n'))],
    ['access.log.gz', gzipSync(lines.join('\n'))],
  ])('%s is read in the page, its broken lines counted, and never sent', async (name, buffer) => {
    const { page, troubles } = await open('#limit=60/1m%20burst%2020');
    await page.getByLabel('Choose a log').setInputFiles({ name, mimeType: 'text/plain', buffer });
    await shows(page, 0, { 'callers refused': '1 of 201', admitted: '2,319 of 3,000' });
    const section = page.getByRole('region', { name: 'Traffic' });
    expect(await section.textContent()).toMatch(
      /3,000 requests in 3,001 lines,\s+looks like combined/,
    );
    expect(await section.textContent()).toMatch(
      /1 line .* could not be read[^]*Line 71: .*not a line/,
    );
    await page.getByText('Who is refused most?').click();
    expect(await page.locator('tbody tr').first().textContent()).toMatch(/^192\.0\.2\.1/);
    await page.getByText('Which limit would hardly any caller notice?').click();
    await page.getByRole('button', { name: 'Try 200/1m' }).click();
    await shows(page, 1, { 'callers refused': '0 of 201' });
    expect(decodeURIComponent(page.url())).not.toMatch(/192|198\.51|access/);
    await page.getByRole('button', { name: 'Back to made-up traffic' }).click();
    await shows(page, 0, { 'callers refused': '1 of 1' });
    expect(troubles).toEqual([]);
  });

  test('dropped onto the page is read; one of no known format is refused with what it could be', async () => {
    const { page } = await open('#limit=60/1m%20burst%2020');
    const drop = (content: string) =>
      page.evaluate(`{
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([${JSON.stringify(content)}], 'dropped.log'));
        document
          .querySelector('.pg-drop')
          .dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
      }`);
    await drop('hello\nworld\n');
    const refusal = page.getByText('its first lines are of no known format');
    await refusal.waitFor();
    expect(await refusal.isVisible()).toBe(true);
    await drop(lines.join('\n'));
    await shows(page, 0, { 'callers refused': '1 of 201' });
  });
});

const SCREENS = [360, 1440].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

describe.each(SCREENS)('at $width pixels in the $colorScheme scheme', ({ width, colorScheme }) => {
  test('axe finds nothing, with errors shown and all parts open too, and nothing scrolls sideways', async () => {
    const { page } = await open('', { viewport: { width, height: 800 }, colorScheme });
    await page.evaluate(axe);
    const findings = () =>
      page.evaluate<string[]>(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes[0].html))",
      );
    const sideways = () =>
      page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
    expect(await findings()).toEqual([]);
    expect(await sideways()).toBe(0);
    for (const summary of await page.locator('summary').all()) await summary.click();
    await page.getByText('The table has the least burst').waitFor();
    await page.getByRole('button', { name: 'Add a limit' }).first().click();
    await page.getByLabel('Rate', { exact: true }).first().fill('-1');
    await page.getByRole('textbox', { name: 'Callers' }).fill('0');
    expect(await findings()).toEqual([]);
    expect(await sideways()).toBe(0);
  });
});
