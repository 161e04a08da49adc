#!/usr/bin/env node
/**
 * Takes the screenshots of the demo's live page for docs: a caller over its limit, and a Redis outage that has just
 * ended, in both colour schemes. `npm run docs:draw -- demo`.
 */
import { mkdirSync, statSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { startDemo } from '../test/system/demo/running.mjs';
import { ensureChromium } from '../test/kit/servers/chromium.mjs';
import { startRedis } from '../test/kit/servers/redis-server.mjs';
import { waitUntil } from '../test/kit/servers/wait-until.mjs';

const FOLDER = new URL('../docs/images/', import.meta.url);
const MOST_BYTES = 200_000;
const SCHEMES = /** @type {const} */ (['light', 'dark']);

const browser = await chromium.launch({ executablePath: ensureChromium() });
const redis = await startRedis();
const demo = startDemo('--workers 2', { REDIS_URL: redis.url });
try {
  const origin = await demo.origin();
  const pages = await Promise.all(
    SCHEMES.map(async (colorScheme) => {
      const viewport = { width: 1_040, height: 800 };
      const page = await browser.newPage({ colorScheme, viewport });
      await page.goto(origin);
      return page;
    }),
  );
  const [page] = pages;
  if (page === undefined) throw new Error('no page');
  /** @param {string} state */
  const shows = (state) =>
    waitUntil(state, () => page.locator(`#store[data-state=${state}]`).count());

  await shows('ready');
  const steady = async () => {
    if ((await page.getAttribute('#steady', 'aria-pressed')) === 'false') {
      await page.click('#steady');
    }
  };
  await steady();
  await sleep(10_000);
  await redis.stop();
  await shows('hung');
  await sleep(5_000);
  await redis.cont();
  await shows('ready');
  await sleep(8_000);
  await redis.kill();
  await shows('away');
  await page.selectOption('#route', '/export');
  await sleep(4_000);
  await redis.start();
  await shows('ready');
  await page.selectOption('#route', '/hello');
  await steady();
  // The screenshot then shows a refusal of a caller over its limit.
  await waitUntil('a refusal', async () =>
    ((await page.locator('#last').textContent()) ?? '').includes('429'),
  );
  await sleep(12_000);
  await steady();
  await sleep(3_000);

  mkdirSync(FOLDER, { recursive: true });
  const last = (await page.locator('#last').textContent()) ?? '';
  const answers = (await page.locator('#answers').textContent()) ?? '';
  for (const [i, scheme] of SCHEMES.entries()) {
    const path = fileURLToPath(new URL(`demo-${scheme}.png`, FOLDER));
    // This second page has sent no requests itself.
    await pages[i]?.evaluate(
      ([text, sum]) => {
        const { document } = /** @type {any} */ (globalThis);
        document.getElementById('last').textContent = text;
        document.getElementById('answers').textContent = sum;
      },
      [last, answers],
    );
    await pages[i]?.screenshot({ path, fullPage: true });
    const { size } = statSync(path);
    console.log(`${path}: ${size} bytes`);
    if (size > MOST_BYTES) {
      console.error(`That is more than ${MOST_BYTES}.`);
      process.exitCode = 1;
    }
  }
} finally {
  await browser.close();
  await demo.close();
  await redis.close();
}
