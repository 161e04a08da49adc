// @ts-check
import { shareOfFirst } from '../zipf.mjs';
import { ms, table, whole } from '../scale/table.mjs';

/**
 * The page's tables about distance, by the names of their markers.
 *
 * @param {import('../distance.mjs').Figures} figures
 * @returns {Record<'distance' | 'distance-run', string>}
 */
export function distanceTables(figures) {
  const { redis, node, cores, load, by, rounds, processes, traffic, busy, flood, rows } = figures;
  const { perSecond, identities } = traffic;
  const first = perSecond * shareOfFirst(identities);
  return {
    'distance-run':
      `${processes} processes make ${whole(perSecond)} calls a second for ${identities} identities: ${whole(first)} a second for the ` +
      `most frequent one, a half and a third of that for the next two, and so on, ${whole(first / identities)} for the last. First under ` +
      `${whole(busy.rate)} a second with a burst of ${whole(busy.burst)}, of which ${Math.floor(first / busy.rate)} identities ask for more; then, ` +
      `as a flood, under ${flood.rate} a second. ${by === 'a relay' ? 'A relay of the tests' : by} delayed the bytes. ` +
      `Redis ${redis}, Node ${node}, ${cores} cores, load ${load}, the median of ${rounds} rounds.`,
    distance: table(
      ['added', 'round trip', '', 'asked Redis', 'Redis µs', 'Node µs', 'p50', 'p99'],
      rows.map(({ addedMs, way, sample }) => [
        `${addedMs} ms`,
        ms(1_000 * sample.tripMs),
        way.replace(/prepay|denyCache/, '`$&`'),
        `${(100 * sample.asked).toFixed(sample.asked < 0.1 ? 1 : 0)} %`,
        sample.redisUs.toFixed(1),
        sample.nodeUs.toFixed(1),
        ms(sample.p50Us),
        ms(sample.p99Us),
      ]),
    ),
  };
}
