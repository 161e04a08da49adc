/** The demo's live page in a real Chromium. */
import { chromium } from 'playwright-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { ensureChromium, waitUntil } from '../../kit/servers/index.mjs';
import { startDemo } from './running.mjs';
import type { RunningDemo } from './running.mjs';

let browser: Browser;
const cleanups: (() => Promise<unknown>)[] = [];

/** What a test must end, in reverse order. */
export function atEnd(cleanup: () => Promise<unknown>): void {
  cleanups.push(cleanup);
}

/** One browser for the tests of a file. */
export function useBrowser(): void {
  // The first run on a machine may have to install it.
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: ensureChromium() });
  }, 300_000);
  afterAll(() => browser.close());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });
}

export function demo(flags: string, env?: Record<string, string>): RunningDemo {
  const run = startDemo(flags, env);
  atEnd(run.close);
  return run;
}

/** The page in its own tab, and what is wrong with it: errors, and requests to other servers. */
export async function open(origin: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options);
  atEnd(() => context.close());
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    // Chromium logs a request answered with 429, or not at all, as an error. The page causes these on purpose.
    const expected =
      /^Failed to load resource: (?:the server responded|net::ERR_(?:CONNECTION|EMPTY))/;
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

export async function shows(page: Page, selector: string, wanted: RegExp): Promise<void> {
  let text = '';
  await waitUntil(`${selector} to show ${wanted}`, async () => {
    text = (await page.locator(selector).textContent()) ?? '';
    return wanted.test(text);
  }).catch((error: unknown) => {
    throw new Error(`${selector} shows '${text}'`, { cause: error });
  });
}

export async function numberIn(page: Page, selector: string): Promise<number> {
  return Number(await page.locator(selector).textContent());
}

/** Waits until a count on the page is greater than it is now. */
export async function rises(page: Page, selector: string): Promise<void> {
  const before = await numberIn(page, selector);
  await waitUntil(`${selector} to rise`, async () => (await numberIn(page, selector)) > before);
}

export const SCHEMES = ['light', 'dark'] as const;
/** A phone, and a desktop. */
export const WIDTHS = [360, 1_440] as const;
