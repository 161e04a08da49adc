#!/usr/bin/env node
/**
 * Takes the screenshots of the demo's live page for docs, in both colour schemes, on a desktop and on a phone: a caller
 * over its limit, a Redis that hung, one that was killed, and calls to Redis saved. `npm run docs:draw -- demo`.
 */
import { mkdirSync, statSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startDemo } from '../test/system/demo/running.mjs';
import { ensureChromium } from '../test/kit/servers/chromium.mjs';
import { waitUntil } from '../test/kit/servers/wait-until.mjs';

const FOLDER = new URL('../docs/images/', import.meta.url);
const MOST_BYTES = 350_000;
const SCHEMES = /** @type {const} */ (['light', 'dark']);
const SIZES = [
  { name: 'demo', width: 1_440, height: 900, fullPage: true },
  // What is above the tables.
  { name: 'demo-phone', width: 360, height: 1_480, fullPage: false },
];

const browser = await chromium.launch({ executablePath: ensureChromium() });
const demo = startDemo('--redis --workers 2');
try {
  const page = await browser.newPage({ viewport: { width: 1_440, height: 900 } });
  await page.goto(await demo.origin());
  /** @param {string} state */
  const shows = (state) =>
    waitUntil(state, () => page.locator(`#store[data-state=${state}]`).count());

  await shows('ready');
  await page.click('#neighbour');
  await page.click('#steady');
  await sleep(10_000);
  await page.click('#redis-stop');
  await shows('hung');
  await sleep(6_000);
  await page.click('#redis-continue');
  await shows('ready');
  await sleep(6_000);
  await page.click('#denyCache');
  await page.click('#prepay');
  await sleep(10_000);
  await page.click('#redis-kill');
  await shows('away');
  await sleep(5_000);
  await page.click('#redis-restart');
  await shows('ready');
  await sleep(11_000);

  mkdirSync(FOLDER, { recursive: true });
  for (const { name, width, height, fullPage } of SIZES) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      await sleep(800);
      const path = fileURLToPath(new URL(`${name}-${colorScheme}.png`, FOLDER));
      await page.screenshot({ path, fullPage });
      const { size } = statSync(path);
      console.log(`${path}: ${size} bytes`);
      if (size > MOST_BYTES) {
        console.error(`That is more than ${MOST_BYTES}.`);
        process.exitCode = 1;
      }
    }
  }
} finally {
  await browser.close();
  await demo.close();
}
