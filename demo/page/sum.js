/** What all processes let pass together, against what the limit allows in that time. */
import { at, element, say, shape, stepOf } from './dom.js';
import { keyOf } from './history.js';

/**
 * By how many seconds units that were paid for beforehand may outlive the Redis that charged them: `aheadMs`, and the
 * time for which they are held.
 */
const OUTLIVE_S = 0.8;

const LEFT = 6;
const RIGHT = 14;
const BAR = 26;
const TOP = 20;

/**
 * Counts what passed between two looks, and the most that the limit allows between the question of the first and the
 * answer of the last: its burst, and what came back meanwhile. A Redis that was started anew knows nothing of what
 * passed before, which allows one more burst.
 *
 * @param {import('./history.js').History} history
 * @param {string} route
 * @param {string} caller
 * @param {{ perSecond: number, burst: number }} rule
 */
function sumOfWindow(history, route, caller, { perSecond, burst }) {
  const [first, ...looks] = history.window();
  const last = looks.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const key = keyOf(route, caller);
  /** @type {Map<number, number>} */
  const byWorker = new Map();
  for (const { passed } of looks) {
    for (const [worker, own] of passed) {
      byWorker.set(worker, (byWorker.get(worker) ?? 0) + (own.get(key) ?? 0));
    }
  }
  const seconds = (last.gotAt - first.askedAt) / 1_000;
  const starts = last.starts - first.starts;
  const bound = Math.floor(burst + perSecond * seconds + starts * (burst + perSecond * OUTLIVE_S));
  const sum = [...byWorker.values()].reduce((total, passed) => total + passed, 0);
  return { byWorker: [...byWorker].toSorted(([a], [b]) => a - b), sum, bound, seconds, starts };
}

/**
 * @param {import('./history.js').History} history
 * @param {string} route
 * @param {string} caller
 * @param {import('./history.js').Rule | undefined} rule
 */
export function drawSum(history, route, caller, rule) {
  const { perSecond, burst } = rule ?? {};
  const found =
    perSecond === undefined || burst === undefined
      ? undefined
      : sumOfWindow(history, route, caller, { perSecond, burst });
  const drawing = at('sum-drawing');
  drawing.toggleAttribute('hidden', found === undefined);
  at('shares').hidden = found === undefined;
  if (found === undefined) {
    const few = 'This route limits how many run at a time, so there is no sum over time.';
    say(at('sum'), perSecond === undefined && rule !== undefined ? few : '');
    return;
  }
  const { byWorker, sum, bound, seconds, starts } = found;
  const again = starts === 0 ? '' : ` A new, empty Redis allowed one more burst.`;
  say(
    at('sum'),
    `${sum} passed in ${seconds.toFixed(0)} s; at most ${bound} may: ${sum <= bound ? 'kept' : 'exceeded'}.${again}`,
  );
  at('sum').dataset['kept'] = String(sum <= bound);
  drawRuler(drawing, byWorker, bound);
  at('shares').replaceChildren(
    ...byWorker.map(([worker, passed], i) =>
      element('li', { class: `share-${i % 4}`, text: `worker ${worker}: ${passed}` }),
    ),
  );
}

/**
 * @param {HTMLElement} drawing
 * @param {readonly (readonly [number, number])[]} byWorker
 * @param {number} bound
 */
function drawRuler(drawing, byWorker, bound) {
  const width = drawing.clientWidth;
  if (width === 0) return;
  const sum = byWorker.reduce((total, [, passed]) => total + passed, 0);
  const most = Math.max(bound, sum) * 1.12;
  const x = (/** @type {number} */ units) => LEFT + ((width - LEFT - RIGHT) * units) / most;
  const step = stepOf(most, Math.max(2, Math.floor(width / 70)));
  const marks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  let base = 0;
  const bars = byWorker.map(([, passed], i) => {
    const from = x(base);
    base += passed;
    const wide = Math.max(0, x(base) - from);
    return shape('rect', { class: `share-${i % 4}`, x: from, y: TOP, width: wide, height: BAR });
  });
  drawing.replaceChildren(
    shape('rect', { class: 'allowed', x: LEFT, y: TOP, width: x(bound) - LEFT, height: BAR }),
    ...bars,
    ...marks.flatMap((units) => [
      shape('line', {
        class: 'grid',
        x1: x(units),
        x2: x(units),
        y1: TOP + BAR,
        y2: TOP + BAR + 5,
      }),
      shape(
        'text',
        { x: x(units), y: TOP + BAR + 18, 'text-anchor': units === 0 ? 'start' : 'middle' },
        String(units),
      ),
    ]),
    shape('line', {
      class: 'limit-line',
      x1: x(bound),
      x2: x(bound),
      y1: TOP - 6,
      y2: TOP + BAR + 6,
    }),
    shape(
      'text',
      { class: 'limit-text', x: x(bound), y: 10, 'text-anchor': 'end' },
      `limit: ${bound}`,
    ),
  );
}
