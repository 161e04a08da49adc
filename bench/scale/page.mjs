// @ts-check
/**
 * @typedef {import('../scale.mjs').Figures} Figures
 * @typedef {import('../scale.mjs').Sample} Sample
 */

/** The load that the page plans for. */
const GOAL = /** @type {const} */ ({ perSecond: 1_000_000, identities: 10_000_000, use: 0.5 });

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
 * @param {Figures} figures
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
    plan: table(['needed', 'how', 'amount'], planned(figures)),
  };
}

/**
 * Derives from the figures what a million decisions per second need: on a cluster, and on separate servers.
 *
 * @param {Figures} figures
 * @returns {[what: string, how: string, result: string][]}
 */
function planned({ identities, inFlight, processes, primaries, durability }) {
  const { perSecond, use } = GOAL;
  const untagged = rowsOf(primaries, 64, 0);
  const tagged = rowsOf(primaries, 256, 64);
  /** @param {keyof Sample} of */
  const most = (of) => Math.max(...untagged.map(({ sample }) => sample[of]));
  // Ratios to one server, which were measured beside it, times the cost of one server.
  const oneServer = processes.find(({ processes: many }) => many === 2)?.sample;
  const nodeUs = ratioOf(untagged, 'nodeUs') * (oneServer?.nodeUs ?? Number.NaN);
  // With many clients and many nodes two calls rarely reach a node together, so each call travels alone.
  const redisUs = Math.max(
    ratioOf(untagged, 'redisUs') * (oneServer?.redisUs ?? Number.NaN),
    inFlight[0]?.sample.redisUs ?? 0,
  );
  const full = inFlight.find(({ inFlight: many }) => many === 256)?.sample.redisUs ?? Number.NaN;
  const tagRatio = ratioOf(tagged, 'redisUs');
  const [bare, replica] = durability.map(({ sample }) => sample);
  const replicaUs = Math.max(0, (replica?.redisUs ?? 0) - (bare?.redisUs ?? 0));
  const replicaBytes = (replica?.bytesOut ?? 0) - (bare?.bytesOut ?? 0);
  const cores = (perSecond * (redisUs + replicaUs)) / 1e6;
  const nodes = Math.ceil(cores / use);
  const bytes = identities.at(-1)?.bytes ?? Number.NaN;
  const gb = (GOAL.identities * bytes) / 1e9;
  const each = perSecond / nodes;
  const mbit = (each * (most('bytesIn') + most('bytesOut') + replicaBytes) * 8) / 1e6;
  const { perCall, perEntry } = costOf(inFlight);
  /** @param {number} entries */
  const servers = (entries) => {
    const us = perCall / entries + perEntry + replicaUs;
    return Math.ceil((perSecond * us) / 1e6 / use);
  };
  return [
    [
      'processor of Redis',
      `${whole(perSecond)}/s × (${redisUs.toFixed(1)} µs + ${replicaUs.toFixed(1)} µs for a replica)`,
      `${cores.toFixed(1)} cores`,
    ],
    [
      'primaries',
      `${cores.toFixed(1)} cores, each used to ${100 * use} %`,
      `${nodes}, and as many replicas`,
    ],
    [
      'memory of a primary',
      `${whole(GOAL.identities)} × ${bytes.toFixed(0)} bytes = ${gb.toFixed(1)} GB, over ${nodes}`,
      `${Math.ceil((1_000 * gb) / nodes)} MB`,
    ],
    [
      'network of a primary',
      `${whole(each)}/s × (${most('bytesIn').toFixed(0)} in + ${most('bytesOut').toFixed(0)} out + ${replicaBytes.toFixed(0)} to the replica)`,
      `${mbit.toFixed(0)} Mbit/s`,
    ],
    [
      'processor of the clients',
      `${whole(perSecond)}/s × ${nodeUs.toFixed(1)} µs`,
      `${((perSecond * nodeUs) / 1e6).toFixed(1)} cores, over all processes`,
    ],
    [
      'with 64 tags, 256 calls in flight in a process',
      `${tagRatio.toFixed(2)} × ${full.toFixed(1)} µs + ${replicaUs.toFixed(1)} µs`,
      `${Math.ceil((perSecond * (tagRatio * full + replicaUs)) / 1e6 / use)} primaries, used to ${100 * use} %`,
    ],
    ...[4, 16, 64].map((entries) => [
      `without a cluster, ${entries} in a call`,
      `${perCall.toFixed(1)} µs / ${entries} + ${perEntry.toFixed(1)} µs + ${replicaUs.toFixed(1)} µs`,
      `${servers(entries)} servers, used to ${100 * use} %`,
    ]),
  ].map(([what = '', how = '', result = '']) => [what, how, result]);
}

/**
 * @param {Figures['primaries']} primaries
 * @param {number} inFlight
 * @param {number} tags
 */
function rowsOf(primaries, inFlight, tags) {
  return primaries
    .filter((each) => each.inFlight === inFlight)
    .flatMap(({ alone, rows }) =>
      rows.filter((row) => row.tags === tags).map(({ sample }) => ({ alone, sample })),
    );
}

/**
 * The greatest ratio of a cluster's cost to one server's.
 *
 * @param {readonly { alone: Sample, sample: Sample }[]} rows
 * @param {'redisUs' | 'nodeUs'} of
 */
function ratioOf(rows, of) {
  return Math.max(...rows.map(({ alone, sample }) => sample[of] / alone[of]));
}

/**
 * `redisUs = perCall / entries + perEntry`, by least squares.
 *
 * @param {Figures['inFlight']} measured
 */
export function costOf(measured) {
  const points = measured.map(({ sample }) => ({ x: 1 / sample.entries, y: sample.redisUs }));
  const mean = (/** @type {(point: { x: number, y: number }) => number} */ of) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  const perCall =
    mean((point) => (point.x - x) * (point.y - y)) / mean((point) => (point.x - x) ** 2);
  return { perCall, perEntry: y - perCall * x };
}

/**
 * Writes the tables into the page: each is between `<!-- figures: name -->` and `<!-- end -->`.
 *
 * @param {string} page
 * @param {Figures} figures
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

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
function table(head, rows) {
  const rule = `|${head.map((_, i) => (i === 0 ? '---' : '--:')).join('|')}|`;
  const [first, ...others] = [head, ...rows].map((row) => `| ${row.join(' | ')} |`);
  return [first, rule, ...others].join('\n');
}

/** @param {number} us */
function ms(us) {
  return `${(us / 1_000).toPrecision(2)} ms`;
}

/** @param {number} number */
function whole(number) {
  return Math.round(number).toLocaleString('en-US');
}
