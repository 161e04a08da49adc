/** What a caller has left, as the library says it, drawn between its answers as it says it will go on. */
import { at, element, say, stepOf, wantsRest } from './dom.js';

/**
 * @typedef {object} LimitState as `/peek` gives it: numbers of the library
 * @property {string} name
 * @property {number} limit
 * @property {number} remaining
 * @property {number} resetAfterMs
 * @property {boolean} [shadow]
 *
 * @typedef {{ degraded: boolean, reason: string, limits: readonly LimitState[] }} RouteState
 *
 * @typedef {object} Known one limit's last state
 * @property {LimitState} state
 * @property {number} at when it was known, by this page's clock
 * @property {number | undefined} perSecond
 */

/** By id of its gauge. @type {Map<string, Known>} */
const known = new Map();

/**
 * Units left now. A bucket says when it will be full, and until then it fills evenly: the unit that is under way is the
 * one that `remaining` does not count yet. The others say only whole numbers.
 *
 * @param {Known} last
 */
function levelOf({ state: { limit, remaining, resetAfterMs }, at: then, perSecond }) {
  if (perSecond === undefined) return remaining;
  const untilFullMs = Math.max(0, resetAfterMs - (performance.now() - then));
  return Math.max(remaining, limit - (untilFullMs * perSecond) / 1_000);
}

/** @param {string} id @param {Known} last */
function fill(id, last) {
  const { state, perSecond } = last;
  const axis = id === 'tank' ? 'scaleY' : 'scaleX';
  const water = /** @type {HTMLElement} */ (at(id).querySelector('.water'));
  for (const animation of water.getAnimations()) animation.cancel();
  const level = levelOf(last);
  water.style.transform = `${axis}(${level / state.limit})`;
  if (perSecond === undefined || level >= state.limit || wantsRest()) return;
  const duration = ((state.limit - level) / perSecond) * 1_000;
  water.animate([{ transform: `${axis}(${level / state.limit})` }, { transform: `${axis}(1)` }], {
    duration,
    fill: 'forwards',
  });
}

/** @param {string} id @param {Known} last */
function tell(id, last) {
  const { limit } = last.state;
  const left = Math.floor(levelOf(last));
  const gauge = at(id);
  gauge.setAttribute('aria-valuemax', String(limit));
  gauge.setAttribute('aria-valuenow', String(left));
  gauge.setAttribute('aria-valuetext', `${left} of ${limit}`);
  say(at(`left-${id}`), `${left} of ${limit}`);
}

/** @param {string} id */
function forget(id) {
  known.delete(id);
  const gauge = at(id);
  gauge.classList.add('unknown');
  gauge.setAttribute('aria-valuenow', '0');
  gauge.setAttribute('aria-valuetext', 'unknown');
  say(at(`left-${id}`), 'unknown');
}

/** @param {string} id @param {Known} last */
function learn(id, last) {
  known.set(id, last);
  at(id).classList.remove('unknown');
  fill(id, last);
  tell(id, last);
}

/** Every tenth of a second, the numbers follow the level. */
setInterval(() => {
  for (const [id, last] of known) tell(id, last);
}, 100);

/** Ids of the gauges by route, with the names of the limits. @type {Map<string, string[]>} */
const gauges = new Map();

/**
 * @param {string} route
 * @param {RouteState} state
 */
function gaugesOf(route, { limits }) {
  const present = gauges.get(route);
  if (present !== undefined || limits.length === 0) return present ?? [];
  const ids = limits.map(({ name, shadow }) => {
    const id = `${route}-${name}`;
    const title = `/${route}${name === 'default' ? '' : `, ${name}`}${shadow ? ' (shadow: only watched)' : ''}`;
    const gauge = element(
      'div',
      { id, class: 'gauge', role: 'meter', 'aria-valuemin': 0, 'aria-labelledby': `of-${id}` },
      [element('div', { class: 'water' })],
    );
    at('limits').append(
      element('div', { class: 'limit' }, [
        element('span', { id: `of-${id}`, text: title }),
        element('span', { id: `left-${id}` }),
        gauge,
      ]),
    );
    return id;
  });
  gauges.set(route, ids);
  return ids;
}

/**
 * @param {Readonly<Record<string, RouteState>>} states by route
 * @param {Readonly<Record<string, import('./history.js').Rule>>} rules
 * @param {string} chosen the route whose bucket is the large one
 */
export function showLimits(states, rules, chosen) {
  const now = performance.now();
  for (const route of Object.keys(rules)) {
    const state = states[route];
    if (state === undefined) continue;
    const ids = gaugesOf(route, state);
    const perSecond = rules[route]?.perSecond;
    for (const [i, id] of ids.entries()) {
      const limit = state.limits[i];
      if (limit === undefined) forget(id);
      else learn(id, { state: limit, at: now, perSecond });
    }
    if (route === chosen) showTank(state.limits[0], perSecond, now);
  }
  const trouble = Object.values(states).find(({ degraded }) => degraded);
  at('without').hidden = trouble === undefined;
  say(
    at('without'),
    trouble === undefined ? '' : `Nobody knows: ${trouble.reason}. No numbers are made up.`,
  );
}

let scale = 0;

/** @param {LimitState | undefined} limit @param {number | undefined} perSecond @param {number} now */
function showTank(limit, perSecond, now) {
  if (limit === undefined) {
    forget('tank');
    say(at('fills'), '');
    return;
  }
  if (scale !== limit.limit) {
    scale = limit.limit;
    const step = stepOf(scale, 4);
    const marks = Array.from({ length: Math.floor(scale / step) + 1 }, (_, i) => i * step);
    at('scale').replaceChildren(
      ...marks.map((units) => {
        const mark = element('span', { text: units });
        mark.style.bottom = `${(100 * units) / scale}%`;
        return mark;
      }),
    );
  }
  const last = { state: limit, at: now, perSecond };
  learn('tank', last);
  const seconds = limit.resetAfterMs / 1_000;
  const wait = seconds < 120 ? `${seconds.toFixed(1)} s` : `${Math.ceil(seconds / 60)} min`;
  say(at('fills'), limit.resetAfterMs === 0 ? 'full' : `full in ${wait}`);
}

/** Says that nothing is known, as after an answer that is an error. @param {string} why */
export function showNothing(why) {
  for (const ids of gauges.values()) for (const id of ids) forget(id);
  forget('tank');
  say(at('fills'), '');
  at('without').hidden = false;
  say(at('without'), why);
}
