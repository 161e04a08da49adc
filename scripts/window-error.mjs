#!/usr/bin/env node
/**
 * Prints how far the sliding window's two counters differ from the exact log, on three shapes of traffic and a manual
 * clock. Every run gives the same numbers. docs/which-limit.md holds them, and a test compares. With `--check` it
 * prints nothing and fails if that table is stale.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { built } from './built.mjs';

const { MemoryStore, RateLimiter, slidingWindow, slidingWindowLog } = built.library;
const { ManualClock } = built.testing;

const DOCUMENT = new URL('../docs/which-limit.md', import.meta.url);

const RATE = 100;
const PERIOD = '60s';
const PERIOD_MS = 60_000;
const WINDOWS = 60;
/** A multiple of the period, where a window begins. */
const START = Date.UTC(2026, 0, 1);

/** Repeatable numbers from 0 to 1: a linear congruential generator modulo 2³². */
function seeded() {
  let state = 20_260_101;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** 1.5 times the rate, at random instants. */
function uniform() {
  const random = seeded();
  return Array.from({ length: 1.5 * RATE * WINDOWS }, () =>
    Math.floor(random() * WINDOWS * PERIOD_MS),
  ).sort((a, b) => a - b);
}

/** Bursts of 1.5 times the rate within two seconds, at random instants, 45 s apart on average. */
function bursty() {
  const random = seeded();
  const calls = [];
  for (let at = 0; at < WINDOWS * PERIOD_MS; at += random() * 90_000) {
    for (let i = 0; i < 1.5 * RATE; i++) calls.push(Math.floor(at + random() * 2_000));
  }
  return calls.sort((a, b) => a - b);
}

/** The whole rate in a window's last millisecond, as many calls as the next window admits, then an idle window. */
function adversarial() {
  const calls = [];
  for (let window = 1; window < WINDOWS; window += 3) {
    const edge = window * PERIOD_MS;
    for (let i = 0; i < RATE; i++) calls.push(edge - 1);
    for (let at = edge; at < edge + PERIOD_MS; at += 150) calls.push(at);
  }
  return calls;
}

/**
 * Tells which of the calls pass.
 *
 * @param {import('../src/index.ts').Limit} limit
 * @param {readonly number[]} calls ms after the start, ascending
 */
async function decide(limit, calls) {
  const clock = new ManualClock(START);
  const limiter = new RateLimiter({ store: new MemoryStore({ clock }), limits: [limit] });
  /** @type {boolean[]} */
  const answers = [];
  let now = 0;
  for (const at of calls) {
    clock.advance(`${at - now}ms`);
    now = at;
    answers.push((await limiter.allow('somebody')).allowed);
  }
  return answers;
}

/**
 * The most calls that passed within any window of one period, in % of the rate.
 *
 * @param {readonly number[]} calls
 * @param {readonly boolean[]} answers
 */
function worstWindow(calls, answers) {
  const passed = calls.filter((_, i) => answers[i]);
  let worst = 0;
  let first = 0;
  for (const [last, at] of passed.entries()) {
    while ((passed[first] ?? at) <= at - PERIOD_MS) first += 1;
    worst = Math.max(worst, last - first + 1);
  }
  return (100 * worst) / RATE;
}

/** @param {number} share @param {number} digits */
const percent = (share, digits = 0) => `${share.toFixed(digits)} %`;

/** @param {readonly boolean[]} answers */
const count = (answers) => answers.filter(Boolean).length;

async function table() {
  const rows = [
    `| traffic (${RATE} per ${PERIOD}, ${WINDOWS} windows) | worst window, two counters | worst window, log | passed, against the log | decided differently |`,
    '|---|---|---|---|---|',
  ];
  const shapes = /** @type {const} */ ([
    ['even: random instants, 1.5 times the rate', uniform()],
    ['bursts of 1.5 times the rate, 45 s apart', bursty()],
    ['made to deceive: all at the edge, then all that passes', adversarial()],
  ]);
  for (const [name, calls] of shapes) {
    const rough = await decide(slidingWindow({ rate: RATE, period: PERIOD }), calls);
    const exact = await decide(slidingWindowLog({ rate: RATE, period: PERIOD }), calls);
    const different = calls.filter((_, i) => rough[i] !== exact[i]).length;
    rows.push(
      `| ${name} | ${percent(worstWindow(calls, rough))} | ${percent(worstWindow(calls, exact))} | ${percent((100 * count(rough)) / count(exact), 1)} | ${percent((100 * different) / calls.length, 1)} |`,
    );
  }
  return rows.join('\n');
}

/** A caller that tries 250 times a period, through many windows: the share of the rate that passes. */
async function smallRates() {
  const rows = [
    `| rate per ${PERIOD}, tried all the time | passes, two counters | passes, log |`,
    '|---|---|---|',
  ];
  const calls = Array.from({ length: 250 * WINDOWS }, (_, i) => i * (PERIOD_MS / 250));
  for (const rate of [1, 2, 5, 10, 50, 100]) {
    const share = async (/** @type {import('distributed-rate-limiter').Limit} */ limit) =>
      percent((100 * count(await decide(limit, calls))) / (rate * WINDOWS));
    const rough = await share(slidingWindow({ rate, period: PERIOD }));
    const exact = await share(slidingWindowLog({ rate, period: PERIOD }));
    rows.push(`| ${rate} | ${rough} | ${exact} |`);
  }
  return rows.join('\n');
}

const measured = [await table(), await smallRates()];
if (!process.argv.includes('--check')) {
  console.log(measured.join('\n\n'));
} else if (measured.some((each) => !readFileSync(DOCUMENT, 'utf8').includes(each))) {
  console.error(
    'A table in docs/which-limit.md is stale: put there what `npm run docs:draw -- error` prints.',
  );
  process.exit(1);
}
