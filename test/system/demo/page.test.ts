import process from 'node:process';
import { expect, test } from 'vitest';
import { axeFindings } from '../../kit/axe.mjs';
import { startRedis, waitUntil } from '../../kit/servers/index.mjs';
import { atEnd, demo, numberIn, open, SCHEMES, shows, useBrowser, WIDTHS } from './browser.ts';

useBrowser();

test('the page on a given Redis counts traffic, shows outages, goes on after each, and has no buttons to break that Redis', async () => {
  const redis = await startRedis();
  atEnd(() => redis.close());
  const run = demo('--workers 2', { REDIS_URL: redis.url });
  const { page, troubles } = await open(await run.origin());
  await shows(page, '#store', /^Redis is up$/);
  await shows(page, '#left-export-default', /^100 of 100$/);
  await shows(page, '#total-passed', /^0$/);
  await shows(page, '#redis-note', /^This Redis is yours/);
  expect(await page.locator('#redis-buttons button').count()).toBe(0);

  await page.selectOption('#route', 'export');
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
  await run.printed(/Worker 1 ended; another one took its place/);
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
  await page.selectOption('#route', 'hello');
  await page.click('#one');
  await waitUntil('what passed without', async () => {
    return (await numberIn(page, '#total-passedDegraded')) > 0;
  });
  await redis.cont();
  await shows(page, '#store', /^Redis is up$/);

  await redis.kill();
  await shows(page, '#store', /^Redis is down$/);
  await page.selectOption('#route', 'export');
  await page.click('#one');
  await waitUntil('what was refused without', async () => {
    return (await numberIn(page, '#total-refusedDegraded')) > 0;
  });
  await shows(page, '#answers', /1 × 503/);
  await redis.start();
  await shows(page, '#store', /^Redis is up$/);
  await page.click('#one');
  await shows(page, '#left-export-default', /^99 of 100$/);

  run.signal('SIGINT');
  await shows(page, '#store', /^The demo does not answer$/);
  expect(troubles).toEqual([]);
}, 120_000);

test('the page in memory has no buttons for Redis, and has no finding of axe in any scheme and width', async () => {
  const origin = await demo('').origin();
  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) {
      const { page, troubles } = await open(origin, {
        colorScheme,
        viewport: { width, height: 800 },
      });
      await shows(page, '#store', /^No Redis/);
      await page.click('#one');
      await shows(page, '#total-passed', /^1$/);
      await shows(page, '#left-search-default', /^40 of 40$/);
      await shows(page, '#redis-note', /^There is no Redis here/);
      expect(await page.locator('#redis-buttons button, #switches button').count()).toBe(0);
      expect(await axeFindings(page)).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      expect(troubles).toEqual([]);
      await page.context().close();
    }
  }
}, 120_000);

test('between two answers the bucket fills as the library says, and in steps for those who want no motion', async () => {
  const origin = await demo('').origin();
  const animations =
    "document.querySelectorAll('#tank')[0].getAnimations({ subtree: true }).length";
  const level = `(() => {
    const [tank, water] = ['#tank', '#tank .water'].map((it) => document.querySelector(it));
    return water.getBoundingClientRect().height / tank.clientHeight;
  })()`;
  /** Units that the caller has, with the part of the next one, as the library's own numbers say. */
  const left = async (caller: string) => {
    const response = await fetch(`${origin}/peek`, { headers: { 'x-api-key': caller } });
    const { hello } = (await response.json()) as { hello: { resetAfterMs: number } };
    return 5 - hello.resetAfterMs / 2_000;
  };
  for (const reducedMotion of ['no-preference', 'reduce'] as const) {
    const { page } = await open(origin, { reducedMotion });
    await page.selectOption('#route', 'hello');
    await page.fill('#caller', reducedMotion);
    await shows(page, '#who', new RegExp(`^${reducedMotion}$`));
    await shows(page, '#left-tank', /^5 of 5$/);
    for (let i = 0; i < 5; i++) await page.click('#one');
    await shows(page, '#answers', /^5 × 200$/);
    // The second answer from now on was asked for after these.
    for (const _ of [1, 2]) await page.waitForResponse('**/peek');
    await shows(page, '#left-tank', /^[0-3] of 5$/);
    expect(await page.evaluate(animations)).toBe(reducedMotion === 'reduce' ? 0 : 1);
    // From now on the page gets no answer, and the numbers go on by the last one.
    await page.route('**/peek', () => {});
    const units = async () =>
      Number.parseInt((await page.locator('#left-tank').textContent())!, 10);
    const start = await units();
    await waitUntil('two units more', async () => (await units()) >= start + 2);
    const shown = 5 * (await page.evaluate<number>(level));
    const after = await left(reducedMotion);
    if (reducedMotion === 'no-preference') {
      expect(shown).toBeGreaterThan(start + 1.5);
      // An answer that was on its way for a second is behind by half a unit.
      expect(shown).toBeLessThan(after + 0.5);
    } else {
      expect(shown).toBeLessThan(start + 1.01);
    }
  }
}, 120_000);
