// @ts-check
import { ours as oursByLimits } from './subjects/index.mjs';

/**
 * @typedef {object} Metric
 * @property {'perSecond' | 'p50Us' | 'p99Us' | 'nodeUs' | 'redisUs'} key
 * @property {string} title
 * @property {boolean} moreIsBetter
 * @property {number} digits after the point
 *
 * @typedef {Record<Metric['key'], number>} Sample what one subject did in one round of one scenario
 * @typedef {Map<string, Sample[]>} Samples by subject, in the order of the rounds
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {boolean} ours
 * @property {import('./subjects/index.mjs').Limits | undefined} limits of this library's newest build: its limits
 * @property {boolean} autoPipelining
 */

/** @type {readonly Metric[]} */
const metrics = [
  { key: 'perSecond', title: 'decisions/s', moreIsBetter: true, digits: 0 },
  { key: 'p50Us', title: 'p50 us', moreIsBetter: false, digits: 0 },
  { key: 'p99Us', title: 'p99 us', moreIsBetter: false, digits: 0 },
  { key: 'nodeUs', title: 'Node us/dec', moreIsBetter: false, digits: 2 },
  { key: 'redisUs', title: 'Redis us/dec', moreIsBetter: false, digits: 2 },
];

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/**
 * Compares this library with the best peer at this metric: the median of the ratios of each round. A slow moment of the
 * machine slows both of a pair.
 *
 * @param {Samples} samples
 * @param {Metric} metric
 * @param {string} ours
 * @param {readonly Row[]} peers
 */
function againstBest(samples, { key, moreIsBetter }, ours, peers) {
  const mine = samples.get(ours) ?? [];
  let best;
  for (const { name } of peers) {
    const theirs = samples.get(name) ?? [];
    const value = median(theirs.map((sample) => sample[key]));
    if (best === undefined || (moreIsBetter ? value > best.value : value < best.value)) {
      const ratios = mine.map(
        (sample, round) => sample[key] / (theirs[round]?.[key] ?? Number.NaN),
      );
      best = { peer: name, value, ratio: median(ratios) };
    }
  }
  return best;
}

/**
 * A table of the medians of one scenario, with the ratios and their peers below it.
 *
 * @param {Samples} samples
 * @param {readonly Row[]} rows
 * @returns {string}
 */
export function scenarioTable(samples, rows) {
  /** @type {string[][]} */
  const table = [['', ...metrics.map(({ title }) => title)]];
  for (const { name } of rows) {
    const own = samples.get(name) ?? [];
    table.push([
      name,
      ...metrics.map(({ key, digits }) => median(own.map((sample) => sample[key])).toFixed(digits)),
    ]);
  }
  for (const { name } of rows.filter(({ ours }) => ours)) {
    for (const [what, peers] of peerGroups(rows)) {
      const bests = metrics.map((metric) => againstBest(samples, metric, name, peers));
      table.push([
        `${name} / best ${what}`,
        ...bests.map((best) => (best ? `${best.ratio.toFixed(2)}x` : '')),
      ]);
      table.push(['  which is', ...bests.map((best) => short(best?.peer ?? ''))]);
    }
  }
  return align(table);
}

/**
 * @param {readonly Row[]} rows
 * @returns {[string, Row[]][]}
 */
function peerGroups(rows) {
  const peers = rows.filter(({ ours }) => !ours);
  /** @type {[string, Row[]][]} */
  const groups = [
    ['peer', peers],
    ['not auto', peers.filter(({ autoPipelining }) => !autoPipelining)],
  ];
  return groups.filter(([, group]) => group.length > 0);
}

/** @param {string} name */
function short(name) {
  return name
    .replace('rate-limiter-flexible', 'rlf')
    .replace('rate-limit-redis', 'rlr')
    .replace('fastify-rate-limit', 'fastify');
}

/** @typedef {{ used: number, dataset: number }} Bytes per identity: of `used_memory`, and of its part that is data */

/**
 * @param {ReadonlyMap<string, Bytes>} bytes
 * @returns {string}
 */
export function bytesTable(bytes) {
  const table = [['', 'bytes/identity', 'of which dataset']];
  for (const [name, { used, dataset }] of bytes) {
    table.push([name, used.toFixed(1), dataset.toFixed(1)]);
  }
  return align(table);
}

/**
 * The goals, and whether each is reached against the best of all peers, which all decide under one fixed window.
 *
 * @param {(inFlight: number, hot: boolean) => Samples | undefined} samplesOf
 * @param {ReadonlyMap<string, Bytes> | undefined} bytes undefined: measured with too few identities
 * @param {readonly Row[]} rows
 * @returns {{ goal: string, got: number, against: string | undefined, reached: boolean }[]}
 */
export function goals(samplesOf, bytes, rows) {
  /**
   * @param {import('./subjects/index.mjs').Limits} limits
   * @param {{ inFlight?: number, hot?: boolean, metric: Metric['key'], peers?: 'all' | 'auto' | 'not auto', atLeast?: number, atMost?: number }} goal
   */
  const ratio = (
    limits,
    { inFlight = 256, hot = false, metric, peers = 'all', atLeast, atMost },
  ) => {
    const mine = rows.find((row) => row.limits === limits);
    const samples = samplesOf(inFlight, hot);
    const described = metrics.find(({ key }) => key === metric);
    if (mine === undefined || samples === undefined || described === undefined) return [];
    const best = againstBest(
      samples,
      described,
      mine.name,
      rows.filter(
        ({ ours, autoPipelining }) =>
          !ours && (peers === 'all' || autoPipelining === (peers === 'auto')),
      ),
    );
    if (best === undefined) return [];
    const bound = atLeast === undefined ? `<= ${atMost}x` : `>= ${atLeast}x`;
    const among = peers === 'all' ? '' : ` (peers: ${peers})`;
    return [
      {
        goal: `${limits}, ${inFlight} in flight${hot ? ', hot' : ''}: ${described.title} ${bound}${among}`,
        got: best.ratio,
        against: best.peer,
        reached: best.ratio >= (atLeast ?? 0) && best.ratio <= (atMost ?? Infinity),
      },
    ];
  };
  /**
   * @param {import('./subjects/index.mjs').Limits} limits
   * @param {number} atMost
   */
  const memory = (limits, atMost) => {
    const used = bytes?.get(oursByLimits.find((each) => each.limits === limits)?.name ?? '')?.used;
    return used === undefined
      ? []
      : [
          {
            goal: `${limits}: bytes per identity <= ${atMost}`,
            got: used,
            against: undefined,
            reached: used <= atMost,
          },
        ];
  };
  const windows = /** @type {const} */ (['fixed window', 'sliding window']);
  return [
    ...ratio('token bucket', { metric: 'perSecond', atLeast: 3.5 }),
    ...ratio('token bucket', { metric: 'nodeUs', atMost: 0.2 }),
    ...ratio('token bucket', { metric: 'redisUs', atMost: 0.4 }),
    ...ratio('token bucket', { hot: true, metric: 'perSecond', atLeast: 7 }),
    ...ratio('token bucket', { inFlight: 1, metric: 'p50Us', atMost: 1.1 }),
    ...windows.flatMap((limits) => [
      ...ratio(limits, { metric: 'perSecond', atLeast: 2.5 }),
      ...ratio(limits, { metric: 'redisUs', peers: 'not auto', atMost: 0.5 }),
      ...ratio(limits, { metric: 'redisUs', peers: 'auto', atMost: 0.75 }),
    ]),
    ...ratio('two limits', { metric: 'perSecond', atLeast: 2 }),
    ...memory('token bucket', 200),
    ...memory('four limits', 320),
  ];
}

/** @param {ReturnType<typeof goals>} list */
export function goalsTable(list) {
  const table = [['goal', 'got', 'against', '']];
  for (const { goal, got, reached, against } of list) {
    const isRatio = against !== undefined;
    table.push([
      goal,
      isRatio ? `${got.toFixed(2)}x` : got.toFixed(1),
      isRatio ? short(against) : '',
      reached ? 'reached' : 'NOT reached',
    ]);
  }
  return align(table);
}

/**
 * Columns; the first is text, the others are numbers.
 *
 * @param {readonly (readonly string[])[]} table
 */
export function align(table) {
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => (row[column] ?? '').length)),
  );
  return table
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The median of each number of these samples. @template {Record<string, number>} S @param {readonly S[]} samples @returns {S} */
export function mediansOf(samples) {
  const [first] = samples;
  if (first === undefined) throw new Error('no turn was taken');
  const result = { ...first };
  for (const key of /** @type {(keyof S)[]} */ (Object.keys(result))) {
    result[key] = /** @type {S[keyof S]} */ (median(samples.map((sample) => Number(sample[key]))));
  }
  return result;
}
