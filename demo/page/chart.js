/** The chart of one caller's requests per second, with its scale and its limit. */
import { at, element, say, shape, stepOf, wantsRest } from './dom.js';
import { noCounts } from './counts.js';
import { keyOf, OUTCOMES, SHOWN_MS, sumOf } from './history.js';

const LEFT = 34;
const RIGHT = 8;
const TOP = 14;
const BOTTOM = 22;
const LEAST_TOP = 10;
/** An outage narrower than this shows no name. */
const NAME_WIDTH = 74;

/** What a time without Redis is called, above its shade. @type {Readonly<Record<string, string>>} */
const OUTAGES = { hung: 'Redis hangs', away: 'no Redis' };

export function openChart() {
  at('counts').replaceChildren(
    ...OUTCOMES.map(([outcome, title]) =>
      element('tr', { class: outcome }, [
        element('th', { scope: 'row', class: 'mark', text: title }),
        element('td', { id: `now-${outcome}`, text: 0 }),
        element('td', { id: `total-${outcome}`, text: 0 }),
      ]),
    ),
  );
}

/** A slot that has just begun says little of its rate. */
const SHORTEST_MS = 300;
/** The chart is drawn anew more often than this. */
const MOVES_FOR_MS = 3_000;

/**
 * @param {import('./history.js').History} history
 * @param {string} route
 * @param {string} caller
 * @param {import('./history.js').Rule | undefined} rule
 */
export function drawChart({ slots, totals }, route, caller, rule) {
  const key = keyOf(route, caller);
  const bars = slots
    .filter(({ from, to }) => to - from >= SHORTEST_MS)
    .map(({ from, to, counts, store }) => ({
      from,
      to,
      store,
      rates: ratesOf(counts.get(key), to - from),
    }));
  const total = totals.get(key) ?? noCounts();
  for (const [outcome] of OUTCOMES) {
    say(at(`now-${outcome}`), Math.round(bars.at(-1)?.rates[outcome] ?? 0));
    say(at(`total-${outcome}`), total[outcome]);
  }

  const chart = at('chart');
  const { clientWidth: width, clientHeight: height } = chart;
  if (width === 0) return;
  const perSecond = rule?.perSecond ?? 0;
  const highest = Math.max(LEAST_TOP, perSecond * 1.2, ...bars.map(({ rates }) => sumOf(rates)));
  const step = stepOf(highest, 4);
  const most = Math.ceil(highest / step) * step;
  const plot = { width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };
  const now = performance.now();
  const x = (/** @type {number} */ time) => LEFT + plot.width * (1 - (now - time) / SHOWN_MS);
  const y = (/** @type {number} */ rate) => TOP + plot.height * (1 - rate / most);

  const marks = Array.from({ length: Math.round(most / step) + 1 }, (_, i) => i * step);
  const grid = marks.flatMap((rate) => [
    shape('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(rate), y2: y(rate) }),
    shape('text', { x: LEFT - 6, y: y(rate) + 4, 'text-anchor': 'end' }, String(rate)),
  ]);
  const times = [60, 45, 30, 15, 0].map((ago) => {
    const anchor = ago === 60 ? 'start' : ago === 0 ? 'end' : 'middle';
    const text = ago === 0 ? 'now' : ago === 60 ? '60 s ago' : `${ago} s`;
    return shape('text', { x: x(now - ago * 1_000), y: height - 5, 'text-anchor': anchor }, text);
  });
  const rects = bars.flatMap(({ from, to, rates }) => {
    let base = 0;
    return OUTCOMES.filter(([outcome]) => rates[outcome] > 0).map(([outcome]) => {
      const foot = y(base);
      base += rates[outcome];
      const tall = Math.max(1, foot - y(base));
      const wide = Math.max(1, x(to) - x(from) - 1.5);
      return shape('rect', {
        class: outcome,
        x: x(from),
        y: foot - tall,
        width: wide,
        height: tall,
      });
    });
  });
  const outages = outagesOf(bars);
  const shades = outages.map(({ from, to }) =>
    shape('rect', {
      class: 'outage',
      x: x(from),
      y: TOP,
      width: x(to) - x(from),
      height: plot.height,
    }),
  );
  const names = outages
    .filter(({ from, to }) => x(to) - x(from) > NAME_WIDTH)
    .map(({ from, name }) => shape('text', { x: x(from) + 4, y: TOP + 11 }, name));
  const moving = group([...shades, ...rects, ...names]);
  if (rects.length > 0 && !wantsRest()) {
    const far = Math.round((plot.width * MOVES_FOR_MS) / SHOWN_MS);
    const timing = { duration: MOVES_FOR_MS, easing: `steps(${far})` };
    moving.animate([{ transform: 'none' }, { transform: `translateX(${-far}px)` }], timing);
  }
  // An element of its own cuts off what moves out of the scale.
  const window = shape('svg', {
    x: LEFT,
    y: 0,
    width: plot.width,
    height,
    viewBox: `${LEFT} 0 ${plot.width} ${height}`,
  });
  window.append(moving);
  const limit =
    perSecond < most / 200
      ? []
      : [
          shape('line', {
            class: 'limit-line',
            x1: LEFT,
            x2: width - RIGHT,
            y1: y(perSecond),
            y2: y(perSecond),
          }),
          shape(
            'text',
            { class: 'limit-text', x: LEFT + 4, y: y(perSecond) - 5 },
            `limit: ${perSecond} a second`,
          ),
        ];
  chart.replaceChildren(...grid, window, ...limit, ...times);
}

/** @param {readonly Element[]} children */
function group(children) {
  const made = shape('g', {});
  made.append(...children);
  return made;
}

/** Counts per second. @param {import('./history.js').Counts | undefined} counts @param {number} ms */
function ratesOf(counts, ms) {
  const rates = noCounts();
  for (const [outcome] of OUTCOMES) rates[outcome] = ((counts?.[outcome] ?? 0) * 1_000) / ms;
  return rates;
}

/** Neighbouring slots without Redis, as one. @param {readonly { from: number, to: number, store: string }[]} bars */
function outagesOf(bars) {
  /** @type {{ from: number, to: number, name: string }[]} */
  const outages = [];
  for (const { from, to, store } of bars) {
    const name = OUTAGES[store];
    const last = outages.at(-1);
    if (name === undefined) continue;
    if (last !== undefined && last.to === from && last.name === name) last.to = to;
    else outages.push({ from, to, name });
  }
  return outages;
}
