#!/usr/bin/env node
/**
 * Draws docs/which-limit.svg: what each algorithm admits of the same traffic. The algorithms themselves decide, on a
 * manual clock. With --check it writes nothing and fails when the picture is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { built } from './built.mjs';

const { fixedWindow, MemoryStore, RateLimiter, slidingWindow, slidingWindowLog, tokenBucket } =
  built.library;
const { ManualClock } = built.testing;

/** @typedef {import('../src/index.ts').Limit} Limit */
/** @typedef {{ at: number, passed: boolean }} Call */

const TARGET = new URL('../docs/which-limit.svg', import.meta.url);

const RATE = 10;
const PERIOD_MS = 10_000;
const SECONDS = 32;
/** A time that is a multiple of the period, so that the axis begins with a window. */
const START = Date.UTC(2026, 0, 1);

/** @type {readonly (readonly [name: string, note: string, limit: Limit])[]} */
const ROWS = [
  ['tokenBucket', 'burst 10, then one a second', tokenBucket({ rate: RATE, period: '10s' })],
  [
    'tokenBucket',
    'burst 2: nearly even spacing',
    tokenBucket({ rate: RATE, period: '10s', burst: 2 }),
  ],
  ['slidingWindow', 'two counters, near enough', slidingWindow({ rate: RATE, period: '10s' })],
  ['slidingWindowLog', 'exact in every window', slidingWindowLog({ rate: RATE, period: '10s' })],
  ['fixedWindow', 'starts afresh at each edge', fixedWindow({ rate: RATE, period: '10s' })],
];

/**
 * Calls in ms: a burst just before a window's edge and one just after it, a pause, then a steady stream above the rate.
 */
function traffic() {
  const calls = [];
  for (let i = 0; i < 12; i++) calls.push(7_500 + i * 160);
  for (let i = 0; i < 12; i++) calls.push(10_300 + i * 160);
  for (let at = 18_000; at < SECONDS * 1_000 - 500; at += 400) calls.push(at);
  return calls;
}

/** @param {Limit} limit */
async function decide(limit) {
  const clock = new ManualClock(START);
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits: [limit] });
  /** @type {Call[]} */
  const calls = [];
  let now = 0;
  for (const at of traffic()) {
    clock.advance(`${at - now}ms`);
    now = at;
    calls.push({ at, passed: (await limiter.allow('somebody')).allowed });
  }
  return calls;
}

/** The first window of one period that admitted the most. @param {readonly Call[]} calls */
function worstWindow(calls) {
  const passed = calls.filter((call) => call.passed).map(({ at }) => at);
  let worst = { from: 0, count: 0 };
  for (const from of passed) {
    const count = passed.filter((at) => at >= from && at < from + PERIOD_MS).length;
    if (count > worst.count) worst = { from, count };
  }
  return worst;
}

const WIDTH = 960;
const LEFT = 244;
const RIGHT = 168;
const TOP = 96;
const ROW = 60;
const BAR = 26;
const PASSED_AT = WIDTH - RIGHT + 40;
const WORST_AT = WIDTH - 60;
/** @param {number} ms */
const x = (ms) => (LEFT + (ms / (SECONDS * 1_000)) * (WIDTH - LEFT - RIGHT)).toFixed(1);

/** A background of its own keeps the picture legible on light and dark pages. */
const STYLE = `
text { font: 13px -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.name { font: 600 13.5px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace }
.soft { fill: #59636e; font-size: 12px }
.count { font-size: 16px; font-weight: 600; text-anchor: middle }
.middle { text-anchor: middle }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0; stroke-dasharray: 2 4 }
.rule { stroke: #eaeef2 }
.passed { stroke: #1a7f37; stroke-width: 1.7; stroke-linecap: round }
.refused { fill: #cf222e }
.worst { stroke: #8c959f; stroke-width: 1.5; fill: none }
.over { stroke: #bc4c00 }
text.over { stroke: none; fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.soft { fill: #9198a1 }
.ground { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #3d444d }
.rule { stroke: #21262d }
.passed { stroke: #3fb950 }
.refused { fill: #ff7b72 }
.worst { stroke: #7d8590 }
.over { stroke: #f0883e }
text.over { fill: #f0883e }
}
`;

/** @param {number} row @param {readonly [name: string, note: string, limit: Limit]} of */
async function drawRow(row, [name, note, limit]) {
  const y = TOP + row * ROW;
  const foot = y + BAR;
  const calls = await decide(limit);
  const worst = worstWindow(calls);
  const over = worst.count > RATE ? ' over' : '';
  const [from, to] = [x(worst.from), x(worst.from + PERIOD_MS)];
  return [
    ...(row === 0 ? [] : [`<path class="rule" d="M20 ${y - 15}H${WIDTH - 20}"/>`]),
    `<text class="name" x="24" y="${y + 12}">${name}</text>`,
    `<text class="soft" x="24" y="${y + 30}">${note}</text>`,
    ...calls.map(({ at, passed }) =>
      passed
        ? `<path class="passed" d="M${x(at)} ${y}V${foot}"/>`
        : `<circle class="refused" cx="${x(at)}" cy="${foot - 1}" r="1.4"/>`,
    ),
    `<path class="worst${over}" d="M${from} ${foot + 4}v4H${to}v-4"/>`,
    `<text class="count" x="${PASSED_AT}" y="${y + 20}">${calls.filter(({ passed }) => passed).length}</text>`,
    `<text class="count${over}" x="${WORST_AT}" y="${y + 20}">${worst.count}</text>`,
  ];
}

async function draw() {
  const bottom = TOP + ROWS.length * ROW - 12;
  const height = bottom + 38;
  const title = `A limit of ${RATE} per 10 s, and the same ${traffic().length} calls`;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${title}: what each algorithm lets pass">`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10"/>`,
    `<text class="title" x="24" y="36">${title}</text>`,
    `<path class="passed" d="M25 50v12"/><text class="soft" x="32" y="61">passed</text>`,
    `<circle class="refused" cx="91" cy="57" r="2.2"/><text class="soft" x="98" y="61">refused</text>`,
    `<path class="worst" d="M157 53v6H181v-6"/><text class="soft" x="188" y="61">the 10 s in which most passed</text>`,
    `<text class="soft middle" x="${PASSED_AT}" y="61">passed</text>`,
    `<text class="soft middle" x="${WORST_AT}" y="61">most in 10 s</text>`,
  ];
  for (let second = 0; second <= SECONDS; second += 10) {
    const at = x(second * 1_000);
    lines.push(
      `<path class="grid" d="M${at} ${TOP - 14}V${bottom + 6}"/>`,
      `<text class="soft middle" x="${at}" y="${bottom + 23}">${second} s</text>`,
    );
  }
  for (const [row, of] of ROWS.entries()) lines.push(...(await drawRow(row, of)));
  return [...lines, '</svg>', ''].join('\n');
}

const picture = await draw();
if (!process.argv.includes('--check')) {
  writeFileSync(TARGET, picture);
} else if (readFileSync(TARGET, 'utf8') !== picture) {
  console.error(
    'docs/which-limit.svg is stale: run `npm run docs:draw -- limits` and commit the result.',
  );
  process.exit(1);
}
