/** What the live page is told of the demo. */
import { RULE_NAMES, RULES } from './limits.mjs';

/**
 * @typedef {import('./figures.mjs').Report} Report
 * @typedef {import('./controls.mjs').Setting} Setting
 *
 * @typedef {object} Hub what one process knows of all, and may ask of them
 * @property {() => Promise<Setting & { reports: readonly Report[] }>} look
 * @property {import('./controls.mjs').Controls['act']} act
 *
 * @typedef {object} ToldRule
 * @property {string} text
 * @property {boolean} passesWithout whether its requests pass without Redis
 * @property {number} [perSecond] units that come back; absent where no units do
 * @property {number} [burst] the most that can pass at once
 */

const SECONDS = /** @type {const} */ ({ s: 1, m: 60, d: 86_400 });

/** @param {import('./limits.mjs').RuleName} name @returns {ToldRule} */
function told(name) {
  const rule = RULES[name];
  const passesWithout = rule.failStrategy === 'open';
  if ('places' in rule) return { text: `${rule.places.max} at a time`, passesWithout };
  const { rate, period } = rule;
  const burst = 'burst' in rule ? rule.burst : rate;
  const seconds = Number.parseInt(period, 10) * SECONDS[/** @type {'s' | 'd'} */ (period.at(-1))];
  const text = `${rate} per ${period}${burst === rate ? '' : `, burst ${burst}`}`;
  return { text, passesWithout, perSecond: rate / seconds, burst };
}

const rules = Object.fromEntries(RULE_NAMES.map((name) => [name, told(name)]));

/** @param {Awaited<ReturnType<Hub['look']>>} seen */
export function liveOf({ redis, saving, reports }) {
  return { redis, saving, rules, processes: reports.map(({ figures }) => figures) };
}
