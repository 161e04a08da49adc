// @ts-check
import { distanceTables } from '../distance/table.mjs';
import { newerTable } from './newer-table.mjs';
import { planTables } from './plan.mjs';
import { ms, table, whole } from './table.mjs';

/**
 * @typedef {import('./figures.mjs').AllFigures} AllFigures
 * @typedef {import('../scale.mjs').Sample} Sample
 */

/** @type {Record<string, (sample: Sample) => string>} */
const COLUMNS = {
  'decisions/s': ({ perSecond }) => whole(perSecond),
  'per script call': ({ entries }) => entries.toFixed(1),
  'Redis µs': ({ redisUs }) => redisUs.toFixed(1),
  'Node µs': ({ nodeUs }) => nodeUs.toFixed(1),
  p50: ({ p50Us }) => ms(p50Us),
  p99: ({ p99Us }) => ms(p99Us),
};

/**
 * The page's tables, by the names of their markers.
 *
 * @param {AllFigures} figures
 * @returns {Record<string, string>}
 */
export function tables(figures) {
  const { identities, inFlight, processes, primaries, durability, strangers } = figures;
  return {
    machine: `Redis ${figures.redis}, Node ${figures.node}, ${figures.cores} cores, which Redis and its clients share.`,
    identities: table(
      [
        'identities',
        'bytes each',
        'decisions/s',
        'Redis µs',
        'p99',
        'alone: Redis µs',
        'p50',
        'p99',
      ],
      identities.map(({ count, bytes, loaded, alone }) => [
        whole(count),
        // With fewer identities the buffers of connections take as much memory as the keys.
        count < 100_000 ? '' : bytes.toFixed(0),
        whole(loaded.perSecond),
        loaded.redisUs.toFixed(1),
        ms(loaded.p99Us),
        alone.redisUs.toFixed(1),
        ms(alone.p50Us),
        ms(alone.p99Us),
      ]),
    ),
    strangers: table(
      ['', ...Object.keys(COLUMNS), 'keys at most'],
      strangers.map(({ sample, peakKeys }) => [
        'never seen before',
        ...cells(sample),
        whole(peakKeys),
      ]),
    ),
    'in-flight': table(
      ['in flight', ...Object.keys(COLUMNS)],
      inFlight.map(({ inFlight: many, sample }) => [whole(many), ...cells(sample)]),
    ),
    processes: table(
      ['processes', ...Object.keys(COLUMNS)],
      processes.map(({ processes: many, sample }) => [whole(many), ...cells(sample)]),
    ),
    primaries: table(
      [
        'primaries',
        'in flight',
        'tags',
        'per script call',
        'Redis: × one server',
        'Node: × one server',
        'busiest',
        'bytes in, out',
      ],
      primaries.flatMap(({ primaries: many, inFlight: each, alone, rows }) =>
        rows.map(({ tags, sample }) => [
          whole(many),
          `2 × ${whole(each)}`,
          tags === 0 ? 'none' : whole(tags),
          sample.entries.toFixed(1),
          (sample.redisUs / alone.redisUs).toFixed(2),
          (sample.nodeUs / alone.nodeUs).toFixed(1),
          `${(100 * sample.busiest).toFixed(0)} %`,
          `${sample.bytesIn.toFixed(0)}, ${sample.bytesOut.toFixed(0)}`,
        ]),
      ),
    ),
    durability: table(
      ['beside it', 'decisions/s', 'Redis µs', 'p99', 'bytes out'],
      durability.map(({ what, sample }) => [
        what,
        whole(sample.perSecond),
        sample.redisUs.toFixed(1),
        ms(sample.p99Us),
        sample.bytesOut.toFixed(0),
      ]),
    ),
    ...planTables(figures),
    ...distanceTables(figures.distance),
    newer: newerTable(figures.newer),
  };
}

/**
 * Writes the tables into the page: each is between `<!-- figures: name -->` and `<!-- end -->`.
 *
 * @param {string} page
 * @param {AllFigures} figures
 */
export function fillIn(page, figures) {
  const made = tables(figures);
  return page.replaceAll(
    /(<!-- figures: ([\w-]+) -->\n)[^]*?(<!-- end -->)/g,
    (_all, begin, name, end) => {
      if (made[name] === undefined) throw new Error(`there are no figures called ${name}`);
      return `${begin}\n${made[name]}\n\n${end}`;
    },
  );
}

/** @param {Sample} sample */
function cells(sample) {
  return Object.values(COLUMNS).map((cell) => cell(sample));
}
