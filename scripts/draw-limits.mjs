#!/usr/bin/env node
/**
 * Draws docs/which-limit.svg: what each algorithm admits of the same traffic, decided by the algorithms themselves
 * on a clock that is moved by hand. With --check it writes nothing and fails when the picture is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  tokenBucket,
} from '../dist/index.js';
import { ManualClock } from '../dist/testing/index.js';

const TARGET = new URL('../docs/which-limit.svg', import.meta.url);

const RATE = 10;
const PERIOD_MS = 10_000;
const SECONDS = 40;

const limits = [
  ['tokenBucket, burst 10', tokenBucket({ rate: RATE, period: '10s' })],
  ['tokenBucket, burst 2', tokenBucket({ rate: RATE, period: '10s', burst: 2 })],
  ['slidingWindow', slidingWindow({ rate: RATE, period: '10s' })],
  ['slidingWindowLog', slidingWindowLog({ rate: RATE, period: '10s' })],
  ['fixedWindow', fixedWindow({ rate: RATE, period: '10s' })],
];

/** Calls in ms: a burst shortly before a window's edge and one right behind it, a pause, a steady stream too fast. */
function traffic() {
  const calls = [];
  for (let i = 0; i < 12; i++) calls.push(8_900 + i * 60);
  for (let i = 0; i < 12; i++) calls.push(10_200 + i * 60);
  for (let at = 18_000; at < SECONDS * 1_000 - 500; at += 400) calls.push(at);
  return calls;
}

/** @param {import('../dist/index.js').Limit} limit */
async function admitted(limit) {
  const start = Date.UTC(2026, 0, 1);
  const clock = new ManualClock(start);
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits: [limit] });
  const calls = [];
  let now = 0;
  for (const at of traffic()) {
    clock.advance(`${at - now}ms`);
    now = at;
    calls.push({ at, passed: (await limiter.allow('somebody')).allowed });
  }
  return calls;
}

/** The most that any window of one period admitted. @param {{ at: number, passed: boolean }[]} calls */
function worstWindow(calls) {
  const passed = calls.filter((call) => call.passed).map(({ at }) => at);
  return Math.max(...passed.map((from) => passed.filter((at) => at >= from && at < from + PERIOD_MS).length));
}

const LEFT = 190;
const WIDTH = 960;
const ROW = 46;
const TOP = 56;
const RIGHT = 150;
/** @param {number} ms */
const x = (ms) => (LEFT + (ms / (SECONDS * 1_000)) * (WIDTH - LEFT - RIGHT)).toFixed(1);

async function draw() {
  const height = TOP + limits.length * ROW + 34;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13">`,
    `<title>What each limit of ${RATE} per 10 s admits of the same traffic</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="15" font-weight="600" fill="#1f2328">${RATE} per 10 s, the same traffic: what passes, and what is refused</text>`,
    `<text x="${WIDTH - RIGHT + 14}" y="26" fill="#59636e">passed</text>`,
    `<text x="${WIDTH - RIGHT + 66}" y="26" fill="#59636e">worst 10 s</text>`,
  ];
  for (let second = 0; second <= SECONDS; second += 10) {
    const at = x(second * 1_000);
    lines.push(
      `<line x1="${at}" y1="${TOP - 14}" x2="${at}" y2="${height - 30}" stroke="#d1d9e0" stroke-dasharray="3 4"/>`,
      `<text x="${at}" y="${height - 12}" fill="#59636e" text-anchor="middle">${second} s</text>`,
    );
  }
  for (const [row, [name, limit]] of limits.entries()) {
    const y = TOP + row * ROW;
    const calls = await admitted(limit);
    lines.push(`<text x="16" y="${y + 18}" fill="#1f2328">${name}</text>`);
    for (const { at, passed } of calls) {
      const [top, bottom, colour] = passed ? [y, y + 28, '#1a7f37'] : [y + 18, y + 28, '#d1242f'];
      lines.push(
        `<line x1="${x(at)}" y1="${top}" x2="${x(at)}" y2="${bottom}" stroke="${colour}" stroke-width="2"/>`,
      );
    }
    lines.push(
      `<text x="${WIDTH - RIGHT + 14}" y="${y + 18}" fill="#1f2328">${calls.filter(({ passed }) => passed).length}</text>`,
      `<text x="${WIDTH - RIGHT + 66}" y="${y + 18}" fill="#1f2328">${worstWindow(calls)}</text>`,
    );
  }
  lines.push('</svg>', '');
  return lines.join('\n');
}

const picture = await draw();
if (!process.argv.includes('--check')) {
  writeFileSync(TARGET, picture);
} else if (readFileSync(TARGET, 'utf8') !== picture) {
  console.error('docs/which-limit.svg is stale: run `npm run draw` and commit the result.');
  process.exit(1);
}
