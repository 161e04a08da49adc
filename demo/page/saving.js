/** How often Redis is asked, and what became of the units that were paid for beforehand. */
import { at, element, say } from './dom.js';

/** @type {readonly (readonly [source: string, title: string])[]} */
const SOURCES = [
  ['store', 'store: Redis was asked'],
  ['slice', 'slice: paid beforehand'],
  ['deny_cache', 'deny_cache: known refusal'],
  ['none', 'none: without Redis'],
];

/** For as long as this without a decision, no process holds units any more: the longest hold and reach, and some. */
const QUIET_MS = 2_000;
let busyAt = performance.now();

/** @param {import('./history.js').History} history */
export function showSaving(history) {
  const [, ...looks] = history.window();
  const count = (/** @type {string} */ name) =>
    looks.reduce((sum, look) => sum + (look.sums[name] ?? 0), 0);
  const bySource = SOURCES.map(([source, title]) => ({ source, title, made: count(source) }));
  const decisions = bySource.reduce((sum, { made }) => sum + made, 0);
  say(at('calls'), decisions === 0 ? '–' : (count('calls') / decisions).toFixed(2));
  at('sources').replaceChildren(
    ...bySource
      .filter(({ made }) => made > 0)
      .map(({ source, made }) => {
        const part = element('span', { class: source });
        part.style.flexGrow = String(made);
        return part;
      }),
  );
  at('source-list').replaceChildren(
    ...bySource.map(({ source, title, made }) =>
      element('li', { class: `mark ${source}`, text: `${title}, ${made}` }),
    ),
  );

  const last = looks.at(-1);
  if (SOURCES.some(([source]) => (last?.sums[source] ?? 0) > 0)) busyAt = performance.now();
  const { charged = 0, spent = 0 } = history.sums;
  const rest = charged - spent;
  const lost =
    performance.now() - busyAt > QUIET_MS ? 'expired unspent' : 'held, or expired unspent';
  say(
    at('prepaid'),
    charged === 0
      ? 'No units were paid for beforehand yet.'
      : `${charged} units paid beforehand: ${spent} spent, ${rest} ${lost}.`,
  );
}
