#!/usr/bin/env node
/**
 * Measures and draws docs/images/calls-over-load.svg: how many decisions Redis is asked for, and how much passes, at loads
 * below and above a limit, with `prepay` and without. Real processes on a real Redis; takes about two minutes. The figures
 * go into calls-over-load.json, and into the page. With --render it draws the figures that are there. With --check it measures nothing and fails when picture or page does not
 * match the figures.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';

/**
 * @typedef {object} Figure
 * @property {number} load of the limit
 * @property {boolean} prepay
 * @property {number} asked decisions by Redis, of all
 * @property {number} admitted of the limit
 * @property {number} over units above the limit, 0 for none
 *
 * @typedef {{ processes: number, rate: number, burst: number, figures: Figure[] }} Figures
 */

const LOADS = [0.25, 0.5, 1, 2, 4];
const BURST = 2_000;
const JSON_FILE = new URL('../docs/images/calls-over-load.json', import.meta.url);
const PICTURE = new URL('../docs/images/calls-over-load.svg', import.meta.url);
const PAGE = new URL('../docs/deciding-without-asking.md', import.meta.url);
const BEGIN = '<!-- figures: calls over load -->';
const END = '<!-- end -->';

/** @returns {Promise<Figures>} */
async function measure() {
  const { overload, PROCESSES, RATE } = await import('../test/system/local/overload.mjs');
  /** @type {Figure[]} */
  const figures = [];
  for (const load of LOADS) {
    for (const prepay of [false, true]) {
      const { asked, used, over } = await overload({
        local: { prepay },
        load,
        burst: BURST,
        ms: 3_000,
      });
      const figure = {
        load,
        prepay,
        asked: round(asked),
        admitted: round(used),
        over: Math.ceil(Math.max(0, over)),
      };
      console.log(JSON.stringify(figure));
      figures.push(figure);
    }
  }
  return { processes: PROCESSES, rate: RATE, burst: BURST, figures };
}

/** @param {number} figure */
function round(figure) {
  return Number(figure.toFixed(3));
}

const WIDTH = 960;
const HEIGHT = 340;
const TOP = 104;
const FOOT = 282;

/** A background of its own keeps the picture legible on light and dark pages. */
const STYLE = `
text { font: 13px -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.name { font-weight: 600 }
.soft { fill: #59636e; font-size: 12px }
.middle { text-anchor: middle }
.end { text-anchor: end }
.ground { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0; stroke-dasharray: 2 4 }
path.plain { stroke: #8c959f; stroke-width: 2; fill: none }
circle.plain { fill: #8c959f }
path.prepay { stroke: #1a7f37; stroke-width: 2.4; fill: none }
circle.prepay { fill: #1a7f37 }
.limit { stroke: #bc4c00; stroke-dasharray: 6 4; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.soft { fill: #9198a1 }
.ground { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #3d444d }
path.plain { stroke: #7d8590 }
circle.plain { fill: #7d8590 }
path.prepay { stroke: #3fb950 }
circle.prepay { fill: #3fb950 }
.limit { stroke: #f0883e }
}
`;

/**
 * @param {object} panel
 * @param {number} panel.left
 * @param {string} panel.name
 * @param {number} panel.most at the top of the axis
 * @param {readonly number[]} panel.ticks
 * @param {(figure: Figure) => number} panel.of
 * @param {readonly Figure[]} figures
 */
function drawPanel({ left, name, most, ticks, of }, figures) {
  const width = 372;
  /** @param {number} load */
  const x = (load) =>
    (left + 24 + ((Math.log2(load) + 2) / (LOADS.length - 1)) * (width - 48)).toFixed(1);
  /** @param {number} value */
  const y = (value) => (FOOT - (Math.min(value, most) / most) * (FOOT - TOP)).toFixed(1);
  const lines = [`<text class="name" x="${left}" y="${TOP - 20}">${name}</text>`];
  for (const tick of ticks) {
    lines.push(
      `<path class="grid" d="M${left} ${y(tick)}h${width}"/>`,
      `<text class="soft end" x="${left - 8}" y="${Number(y(tick)) + 4}">${tick}</text>`,
    );
  }
  for (const load of LOADS) {
    lines.push(`<text class="soft middle" x="${x(load)}" y="${FOOT + 20}">${load}×</text>`);
  }
  for (const kind of ['plain', 'prepay']) {
    const its = figures.filter(({ prepay }) => prepay === (kind === 'prepay'));
    const points = its.map((figure) => `${x(figure.load)} ${y(of(figure))}`);
    lines.push(
      `<path class="${kind}" d="M${points.join('L')}"/>`,
      ...its.map(
        (figure) =>
          `<circle class="${kind}" cx="${x(figure.load)}" cy="${y(of(figure))}" r="3.6"/>`,
      ),
    );
  }
  return { lines, y };
}

/** @param {Figures} measured */
function draw({ processes, rate, figures }) {
  const title = `${processes} processes, one limit of ${rate} a second, at 0.25 to 4 times its load`;
  const asked = drawPanel(
    {
      left: 64,
      name: 'decisions that Redis is asked for, of all',
      most: 1,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      of: (figure) => figure.asked,
    },
    figures,
  );
  const admitted = drawPanel(
    {
      left: 548,
      name: 'admitted, of the limit',
      most: 1.25,
      ticks: [0, 0.25, 0.5, 0.75, 1, 1.25],
      of: (figure) => figure.admitted,
    },
    figures,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: decisions that Redis is asked for, and what is admitted, with prepay and without">`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="10"/>`,
    `<text class="title" x="24" y="36">${title}</text>`,
    `<path class="plain" d="M25 57h22"/><text class="soft" x="54" y="61">asking for each call</text>`,
    `<path class="prepay" d="M189 57h22"/><text class="soft" x="218" y="61">prepay</text>`,
    `<path class="limit" d="M281 57h22"/><text class="soft" x="310" y="61">the limit</text>`,
    ...asked.lines,
    `<path class="limit" d="M548 ${admitted.y(1)}h372"/>`,
    ...admitted.lines,
    `<text class="soft middle" x="250" y="${HEIGHT - 16}">load, of the limit</text>`,
    `<text class="soft middle" x="734" y="${HEIGHT - 16}">load, of the limit</text>`,
    '</svg>',
    '',
  ].join('\n');
}

/** What one sees in the picture. @param {Figures} measured */
function sentence({ processes, figures }) {
  const highest = figures.filter(({ load }) => load === LOADS.at(-1));
  const [plain, prepaid] = [false, true].map((is) => highest.find(({ prepay }) => prepay === is));
  if (plain === undefined || prepaid === undefined) throw new Error('a figure is missing');
  const worst = Math.max(...figures.map(({ over }) => over));
  return (
    `At ${plain.load} times the limit ${processes} processes with \`prepay\` ask Redis for ${prepaid.asked} of their decisions, and ` +
    `admit ${prepaid.admitted} of the limit; those that ask for each call admit ${plain.admitted} on these two busy cores. In no run did more pass ` +
    `than the limit${worst > 0 ? ` and ${worst} units` : ''}.`
  );
}

/** @param {string} page @param {Figures} measured */
function fillIn(page, measured) {
  const [before, rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  return `${before}${BEGIN}\n${sentence(measured)}\n${END}${after}`;
}

const page = readFileSync(PAGE, 'utf8');
if (!process.argv.includes('--check')) {
  /** @type {Figures} */
  const measured = process.argv.includes('--render')
    ? JSON.parse(readFileSync(JSON_FILE, 'utf8'))
    : await measure();
  writeFileSync(JSON_FILE, `${JSON.stringify(measured, null, 2)}\n`);
  writeFileSync(PICTURE, draw(measured));
  writeFileSync(PAGE, fillIn(page, measured));
} else {
  /** @type {Figures} */
  const measured = JSON.parse(readFileSync(JSON_FILE, 'utf8'));
  if (
    readFileSync(PICTURE, 'utf8') !== draw(measured) ||
    page !== fillIn(page, measured) ||
    !page.includes(BEGIN)
  ) {
    console.error(
      'The picture or the sentence beside it does not match the figures: run `npm run docs:draw -- local`.',
    );
    process.exit(1);
  }
}
