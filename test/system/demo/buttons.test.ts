import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { axeFindings } from '../../kit/axe.mjs';
import { waitUntil } from '../../kit/servers/index.mjs';
import {
  atEnd,
  demo,
  numberIn,
  open,
  rises,
  SCHEMES,
  shows,
  useBrowser,
  WIDTHS,
} from './browser.ts';

useBrowser();

const RATE = 10;
const BURST = 40;

interface Live {
  redis: { state: string; pid: number; starts: number };
  processes: { pid: number; prepaid: { charged: number; spent: number } }[];
}

async function live(origin: string): Promise<Live> {
  return (await (await fetch(`${origin}/live`)).json()) as Live;
}

/** Counts the answers that let a request of alice's pass with a decision of Redis, as the browser gets them. */
function countAdmitted(page: Page): () => Promise<number> {
  const bodies: Promise<boolean>[] = [];
  page.on('response', (response) => {
    const isSearch = new URL(response.url()).pathname === '/search';
    if (!isSearch || response.status() !== 200) return;
    bodies.push(response.json().then((body: { degraded: boolean }) => !body.degraded));
  });
  return async () => (await Promise.all(bodies)).filter(Boolean).length;
}

async function isClean(page: Page): Promise<void> {
  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      expect(await axeFindings(page)).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    }
  }
}

test('the buttons stop, continue, kill and restart the private Redis under traffic, and the limit holds', async () => {
  const run = demo('--redis --workers 2');
  const origin = await run.origin();
  const { page, troubles } = await open(origin);
  const admitted = countAdmitted(page);
  const beganAt = performance.now();
  await shows(page, '#redis-state', /^redis-server \d+ runs$/);
  const { redis: first } = await live(origin);
  await page.click('#steady');
  await rises(page, '#total-passed');
  await rises(page, '#total-refused');

  // By keyboard; the button keeps the focus though it has no effect any more.
  await page.focus('#redis-stop');
  await page.keyboard.press('Enter');
  await shows(page, '#redis-state', /is stopped$/);
  await shows(page, '#said', /^Redis is stopped/);
  await shows(page, '#store', /^Redis hangs/);
  await shows(page, '#left-tank', /^unknown$/);
  await rises(page, '#total-passedDegraded');
  await shows(page, '#last', /"reason":"store_(?:timeout|away)","source":"none","degraded":true/);
  expect(await page.evaluate('document.activeElement.id')).toBe('redis-stop');
  expect(await page.getAttribute('#redis-stop', 'aria-disabled')).toBe('true');
  await page.selectOption('#route', 'export');
  await rises(page, '#total-refusedDegraded');
  await page.selectOption('#route', 'search');
  await isClean(page);

  await page.click('#redis-continue');
  await shows(page, '#store', /^Redis is up$/);
  await rises(page, '#total-passed');
  expect(await live(origin)).toMatchObject({ redis: first });

  await page.click('#redis-kill');
  await shows(page, '#redis-state', /is gone$/);
  await shows(page, '#store', /^Redis is down$/);
  await rises(page, '#total-passedDegraded');
  expect(() => process.kill(first.pid, 0)).toThrow('ESRCH');

  await page.click('#redis-restart');
  await shows(page, '#store', /^Redis is up$/);
  await rises(page, '#total-passed');
  const { redis: second } = await live(origin);
  expect(second).toMatchObject({ state: 'runs', starts: 2 });
  expect(second.pid).not.toBe(first.pid);
  await shows(page, '#sum', /one more burst/);
  expect(await page.getAttribute('#sum', 'data-kept')).toBe('true');

  await page.click('#steady');
  await waitUntil('the page to count all answers', async () => {
    return (await numberIn(page, '#total-passed')) === (await admitted());
  });
  const seconds = (performance.now() - beganAt) / 1_000;
  // Each Redis began with a full bucket.
  expect(await admitted()).toBeLessThanOrEqual(2 * BURST + RATE * seconds);
  expect(await admitted()).toBeGreaterThan(BURST);
  expect(troubles).toEqual([]);

  // Ends though its Redis is stopped.
  await page.click('#redis-stop');
  await shows(page, '#redis-state', /is stopped$/);
  run.signal('SIGINT');
  expect(await run.exitCode).toBe(0);
  expect(() => process.kill(second.pid, 0)).toThrow('ESRCH');
}, 120_000);

test('the switches turn prepay and denyCache on and off, Redis is asked less, and the limit holds', async () => {
  const run = demo('--redis --workers 2');
  const origin = await run.origin();
  const { page, troubles } = await open(origin);
  const admitted = countAdmitted(page);
  const beganAt = performance.now();
  await page.click('#steady');
  await page.click('#neighbour');
  await rises(page, '#total-refused');
  expect(await numberIn(page, '#total-passedHere')).toBe(0);

  await page.click('#denyCache');
  await shows(page, '#said', /^denyCache is on/);
  await rises(page, '#total-refusedHere');
  await page.click('#prepay');
  await shows(page, '#said', /^prepay is on/);
  await rises(page, '#total-passedHere');
  await waitUntil('fewer calls to Redis', async () => (await numberIn(page, '#calls')) < 0.7);
  expect(await page.getAttribute('#prepay', 'aria-checked')).toBe('true');
  await shows(page, '#prepaid', /^\d+ units paid beforehand: \d+ spent, \d+ held, or expired/);
  await isClean(page);

  await page.click('#prepay');
  await page.click('#denyCache');
  await shows(page, '#said', /^denyCache is off/);
  await waitUntil('each decision to ask Redis', async () => {
    const here = await numberIn(page, '#now-passedHere');
    return here === 0 && (await numberIn(page, '#now-refused')) > 0;
  });
  expect(await page.getAttribute('#prepay', 'aria-checked')).toBe('false');

  await page.click('#steady');
  await page.click('#neighbour');
  await shows(page, '#prepaid', /^\d+ units paid beforehand: \d+ spent, \d+ expired unspent/);
  const [charged, spent, expired] = /(\d+) units\D*(\d+) spent, (\d+)/
    .exec((await page.locator('#prepaid').textContent()) ?? '')!
    .slice(1)
    .map(Number);
  const { processes } = await live(origin);
  const sum = (name: 'charged' | 'spent') =>
    processes.reduce((total, { prepaid }) => total + prepaid[name], 0);
  expect([charged, spent]).toEqual([sum('charged'), sum('spent')]);
  expect(expired).toBe(charged! - spent!);

  // The neighbour's answers are among those that the browser got.
  const neighbours = await numberIn(page, '#callers tr:has-text("neighbour") td:nth-child(3)');
  const own = await admittedTo(page, admitted, neighbours);
  const seconds = (performance.now() - beganAt) / 1_000;
  expect(own).toBeLessThanOrEqual(BURST + RATE * seconds);
  expect(own).toBeGreaterThan(BURST);
  // Nobody else's traffic took a unit of the neighbour's.
  expect(await numberIn(page, '#callers tr:has-text("neighbour") td:nth-child(4)')).toBe(0);
  expect(troubles).toEqual([]);
}, 120_000);

/** Waits until the page has counted what the browser got, and returns how many were alice's. */
async function admittedTo(page: Page, admitted: () => Promise<number>, neighbours: number) {
  return waitUntil('the page to count all answers', async () => {
    const here = await numberIn(page, '#total-passedHere');
    const own = (await numberIn(page, '#total-passed')) + here;
    return own + neighbours === (await admitted()) ? own : undefined;
  });
}

test('a screen reader hears changes of Redis, and nothing of the traffic', async () => {
  const origin = await demo('--redis').origin();
  const { page } = await open(origin);
  await shows(page, '#store', /^Redis is up$/);
  await page.evaluate(`
    globalThis.heard = [];
    for (const live of document.querySelectorAll('output, [role=status], [aria-live]')) {
      const note = () => heard.push(live.textContent);
      new MutationObserver(note).observe(live, { childList: true, characterData: true, subtree: true });
    }`);
  await page.click('#steady');
  await rises(page, '#total-refused');
  await rises(page, '#total-refused');
  expect(await page.evaluate('heard')).toEqual([]);
  await page.click('#redis-kill');
  await shows(page, '#store', /^Redis is down$/);
  await shows(page, '#said', /^Redis is killed/);
  expect(new Set(await page.evaluate<string[]>('heard'))).toEqual(
    new Set(['Redis is down', 'Redis is killed. The processes notice at once.']),
  );
}, 120_000);

test("a page of another server can press none of the demo's buttons", async () => {
  const run = demo('--redis');
  const origin = await run.origin();
  const before = await live(origin);
  const foreign = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>foreign</title>');
  }).listen(0, '127.0.0.1');
  await once(foreign, 'listening');
  atEnd(async () => foreign.close());
  const there = `http://127.0.0.1:${(foreign.address() as AddressInfo).port}`;
  const { page } = await open(there);
  const answers: [string, number][] = [];
  page.on('response', (response) => answers.push([response.request().method(), response.status()]));
  await page.evaluate(
    `Promise.allSettled([
      fetch('${origin}/redis/kill', { method: 'POST', mode: 'no-cors' }),
      fetch('${origin}/redis/kill', { mode: 'no-cors' }),
      fetch('${origin}/prepay/on', { method: 'POST', mode: 'no-cors' }),
    ])`,
  );
  expect(answers.toSorted(([a], [b]) => a.localeCompare(b))).toEqual([
    ['GET', 405],
    ['POST', 403],
    ['POST', 403],
  ]);
  // A form may be sent to another server without its leave.
  const submitted = page.waitForResponse((response) => response.url().endsWith('/redis/stop'));
  await page.evaluate(
    `document.body.innerHTML = '<form method=post action="${origin}/redis/stop"></form>';
    document.forms[0].submit();`,
  );
  expect((await submitted).status()).toBe(403);
  expect(await live(origin)).toMatchObject({ ...before, processes: [{ pid: run.pid }] });
}, 120_000);
