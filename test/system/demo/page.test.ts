import process from 'node:process';
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { axeFindings } from '../../kit/axe.mjs';
import { ensureChromium, startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { startDemo } from './running.mjs';

let browser: Browser;
// The first run on a machine may have to install it.
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: ensureChromium() });
}, 300_000);
afterAll(() => browser.close());

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** The page in its own tab, and the page's errors. */
async function open(origin: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options);
  cleanups.push(() => context.close());
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    // Chromium logs a request answered with 429, or not at all, as an error. The page causes these on purpose.
    const expected = /^Failed to load resource: (?:the server responded|net::ERR_CONNECTION)/;
    if (message.type() === 'error' && !expected.test(message.text())) troubles.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith('data:') && new URL(request.url()).origin !== origin) {
      troubles.push(`asks ${request.url()}`);
    }
  });
  await page.goto(origin);
  return { page, troubles };
}

async function shows(page: Page, selector: string, wanted: RegExp): Promise<void> {
  let text = '';
  await waitUntil(`${selector} to show ${wanted}`, async () => {
    text = (await page.locator(selector).textContent()) ?? '';
    return wanted.test(text);
  }).catch((error: unknown) => {
    throw new Error(`${selector} shows '${text}'`, { cause: error });
  });
}

async function numberIn(page: Page, selector: string): Promise<number> {
  return Number(await page.locator(selector).textContent());
}

test('the page with Redis and two workers counts traffic, shows outages, and goes on after each', async () => {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const demo = startDemo('--workers 2', { REDIS_URL: redis.url });
  cleanups.push(demo.close);
  const { page, troubles } = await open(await demo.origin());
  await shows(page, '#store', /^Redis is up$/);
  await shows(page, '#left-export-default', /^100 of 100$/);
  await shows(page, '#total-passed', /^0$/);

  await page.selectOption('#route', '/export');
  await page.click('#one');
  await shows(page, '#total-passed', /^1$/);
  await shows(page, '#left-export-default', /^99 of 100$/);
  await shows(page, '#last', /^GET \/export → 200[^]*ratelimit: "default";r=99/);

  await page.click('#burst');
  await shows(page, '#total-passed', /^100$/);
  await shows(page, '#total-refused', /^1$/);
  await shows(page, '#answers', /^100 × 200, 1 × 429$/);
  await shows(page, '#left-export-default', /^0 of 100$/);
  expect(await page.locator('#chart rect').count()).toBeGreaterThan(0);
  // The sum of all processes: the proof made its 400 requests before this page was opened.
  await waitUntil('what the processes counted', async () => {
    const rows = await page.locator('#workers td:nth-child(4)').allTextContents();
    const [one = 0, two = 0] = rows.map(Number);
    return rows.length === 2 && one > 0 && two > 0 && one + two === 501;
  });

  await page.click('#steady');
  await waitUntil('the steady traffic', async () => (await numberIn(page, '#total-refused')) > 5);
  await shows(page, '#last', /→ 429[^]*retry-after: \d+[^]*problem\+json[^]*violated-policies/);
  await page.click('#steady');
  expect(await page.getAttribute('#steady', 'aria-pressed')).toBe('false');

  // A killed worker's counts disappear, and no other worker's.
  const allCounted = async () => {
    const answers = (await page.locator('#answers').textContent()) ?? '';
    return Number(/(\d+) × 429/.exec(answers)?.[1]) === (await numberIn(page, '#total-refused'));
  };
  await waitUntil('the count of all that was answered', allCounted);
  process.kill(await numberIn(page, '#workers tr:first-child td:nth-child(2)'), 'SIGKILL');
  await demo.printed(/Worker 1 ended; another one took its place/);
  await waitUntil('the new worker', async () => {
    const decisions = await page.locator('#workers td:nth-child(4)').allTextContents();
    return decisions.length === 2 && decisions[0] === '0';
  });
  expect(await allCounted()).toBe(true);
  expect(await numberIn(page, '#total-passed')).toBe(100);

  await page.fill('#caller', 'bob <b>');
  await shows(page, '#who', /^bob <b>$/);
  await shows(page, '#left-export-default', /^100 of 100$/);

  await redis.stop();
  await shows(page, '#store', /^Redis hangs/);
  await shows(page, '#without', /^Nobody knows: store_(?:timeout|away)/);
  await page.selectOption('#route', '/hello');
  await page.click('#one');
  await waitUntil('what passed without', async () => {
    return (await numberIn(page, '#total-passedDegraded')) > 0;
  });
  await redis.cont();
  await shows(page, '#store', /^Redis is up$/);

  await redis.kill();
  await shows(page, '#store', /^Redis is down$/);
  await page.selectOption('#route', '/export');
  await page.click('#one');
  await waitUntil('what was refused without', async () => {
    return (await numberIn(page, '#total-refusedDegraded')) > 0;
  });
  await shows(page, '#answers', /1 × 503/);
  await redis.start();
  await shows(page, '#store', /^Redis is up$/);
  await page.click('#one');
  await shows(page, '#left-export-default', /^99 of 100$/);

  demo.signal('SIGINT');
  await shows(page, '#store', /^The demo does not answer$/);
  expect(troubles).toEqual([]);
}, 60_000);

test('the page in memory tells that there is no Redis, and is readable in light and in dark', async () => {
  const demo = startDemo('');
  cleanups.push(demo.close);
  const origin = await demo.origin();
  for (const colorScheme of ['light', 'dark'] as const) {
    const { page, troubles } = await open(origin, { colorScheme });
    await shows(page, '#store', /^No Redis/);
    await page.click('#one');
    await shows(page, '#total-passed', /^1$/);
    await shows(page, '#left-hello-default', /^[345] of 5$/);
    expect(await axeFindings(page)).toEqual([]);
    expect(troubles).toEqual([]);
  }
});
