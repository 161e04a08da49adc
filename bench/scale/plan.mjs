// @ts-check
import { table, whole } from './table.mjs';

/**
 * @typedef {import('./figures.mjs').AllFigures} AllFigures
 * @typedef {import('../scale.mjs').Sample} Sample
 *
 * @typedef {object} Way to get a million decisions a second
 * @property {string} name
 * @property {string} how the processor time of Redis per decision is put together
 * @property {number} redisUs
 * @property {number} nodeUs
 */

/** The load that the page plans for. */
const GOAL = /** @type {const} */ ({ perSecond: 1_000_000, identities: 10_000_000, use: 0.5 });
/** The part of the calls that are of identities busy enough for slices. */
const BUSY = 0.5;
/** The distance whose figures say what `prepay` saves: within a data centre. */
const NEAR_MS = 1;

/**
 * Derives from the figures what a million decisions per second need: on a cluster, on separate servers, with slices, and
 * on the newest server.
 *
 * @param {AllFigures} figures
 * @returns {Record<'plan' | 'plan-primary', string>}
 */
export function planTables(figures) {
  const { identities, inFlight, processes, primaries, durability, distance, newer } = figures;
  const untagged = rowsOf(primaries, 64, 0);
  const tagged = rowsOf(primaries, 256, 64);
  const [bare, replica] = durability.map(({ sample }) => sample);
  const replicaUs = Math.max(0, (replica?.redisUs ?? 0) - (bare?.redisUs ?? 0));
  const replicaBytes = (replica?.bytesOut ?? 0) - (bare?.bytesOut ?? 0);
  /** @param {number} many @returns {Sample | undefined} */
  const withInFlight = (many) => inFlight.find((row) => row.inFlight === many)?.sample;

  // Ratios to one server, which were measured beside it, times the cost of one server.
  const oneServer = processes.find(({ processes: many }) => many === 2)?.sample;
  // With many clients and many nodes two calls rarely reach a node together, so each call travels alone.
  const loneUs = Math.max(
    ratioOf(untagged, 'redisUs') * Number(oneServer?.redisUs),
    Number(withInFlight(1)?.redisUs),
  );
  const onCluster = wayOf(
    'cluster without tags',
    `${us(loneUs)} + ${us(replicaUs)} for a replica`,
    loneUs + replicaUs,
    ratioOf(untagged, 'nodeUs') * Number(oneServer?.nodeUs),
  );
  const full = withInFlight(256);
  const tagRatio = ratioOf(tagged, 'redisUs');
  const withTags = wayOf(
    'cluster, 64 tags, 256 calls in flight in a process',
    `${tagRatio.toFixed(2)} × ${us(Number(full?.redisUs))} + ${us(replicaUs)}`,
    tagRatio * Number(full?.redisUs) + replicaUs,
    ratioOf(tagged, 'nodeUs') * Number(full?.nodeUs),
  );
  const { perCall, perEntry } = costOf(inFlight);
  const apart = [4, 16, 64].map((entries) =>
    wayOf(
      `separate servers, ${entries} decisions in a call`,
      `${us(perCall)} / ${entries} + ${us(perEntry)} + ${us(replicaUs)}`,
      perCall / entries + perEntry + replicaUs,
      Number(withInFlight(entries)?.nodeUs),
    ),
  );
  const saved = savedBy(distance);
  const newest = newestOf(newer);
  const ways = [
    onCluster,
    withTags,
    prepaid(withTags, saved),
    onNewest(withTags, newest),
    onNewest(prepaid(withTags, saved), newest),
    ...apart,
    ...apart.slice(1, 2).map((way) => prepaid(way, saved)),
  ];

  const bytes = Number(identities.at(-1)?.bytes);
  const gb = (GOAL.identities * bytes) / 1e9;
  /** @param {Way} way @param {readonly { sample: Sample }[]} rows */
  const onePrimary = (way, rows) => {
    const nodes = nodesOf(way);
    const each = GOAL.perSecond / nodes;
    /** @param {'bytesIn' | 'bytesOut'} of */
    const most = (of) => Math.max(...rows.map(({ sample }) => sample[of]));
    const traffic = most('bytesIn') + most('bytesOut') + replicaBytes;
    return [
      way.name,
      `${whole(each)}/s`,
      `${whole(GOAL.identities)} × ${bytes.toFixed(0)} bytes / ${nodes} = ${Math.ceil((1_000 * gb) / nodes)} MB`,
      `${whole(each)}/s × (${most('bytesIn').toFixed(0)} in + ${most('bytesOut').toFixed(0)} out + ${replicaBytes.toFixed(0)} to the replica) = ${((each * traffic * 8) / 1e6).toFixed(0)} Mbit/s`,
    ];
  };
  return {
    plan: table(
      ['way', 'Redis per decision', 'cores of Redis', 'primaries', 'cores of the clients'],
      ways.map((way) => [
        way.name,
        `${way.how} = ${us(way.redisUs)}`,
        coresOf(way.redisUs).toFixed(1),
        whole(nodesOf(way)),
        coresOf(way.nodeUs).toFixed(1),
      ]),
    ),
    'plan-primary': table(
      ['one primary of', 'decisions', 'memory', 'network'],
      [onePrimary(onCluster, untagged), onePrimary(withTags, tagged)],
    ),
  };
}

/** @param {string} name @param {string} how @param {number} redisUs @param {number} nodeUs @returns {Way} */
function wayOf(name, how, redisUs, nodeUs) {
  return { name, how, redisUs, nodeUs };
}

/** @param {Way} way @param {{ redis: number, node: number }} saved @returns {Way} */
function prepaid({ name, redisUs, nodeUs }, saved) {
  return {
    name: `${name}, \`prepay\``,
    how: `(${1 - BUSY} + ${BUSY} × ${saved.redis.toFixed(2)}) × ${us(redisUs)}`,
    redisUs: (1 - BUSY + BUSY * saved.redis) * redisUs,
    nodeUs: (1 - BUSY + BUSY * saved.node) * nodeUs,
  };
}

/** @param {Way} way @param {{ version: string, ratio: number }} newest @returns {Way} */
function onNewest({ name, redisUs, nodeUs }, { version, ratio }) {
  return {
    name: `${name}, on ${version}`,
    how: `${ratio.toFixed(2)} × ${us(redisUs)}`,
    redisUs: ratio * redisUs,
    nodeUs,
  };
}

/**
 * What is left of the cost of a busy identity's decision with `prepay`.
 *
 * @param {AllFigures['distance']} distance
 */
function savedBy({ rows }) {
  const [plain, prepay] = /** @type {const} */ (['plain', 'prepay']).map(
    (wanted) => rows.find(({ addedMs, way }) => addedMs === NEAR_MS && way === wanted)?.sample,
  );
  return {
    redis: Number(prepay?.redisUs) / Number(plain?.redisUs),
    node: Number(prepay?.nodeUs) / Number(plain?.nodeUs),
  };
}

/**
 * The last server measured, and what a decision costs there against the first one.
 *
 * @param {AllFigures['newer']} newer
 */
function newestOf({ versions, rows }) {
  const decisions = rows['a decision, token bucket'] ?? [];
  return {
    version: versions.at(-1) ?? '',
    ratio: Number(decisions.at(-1)) / Number(decisions[0]),
  };
}

/** @param {Way} way */
function nodesOf({ redisUs }) {
  return Math.ceil(coresOf(redisUs) / GOAL.use);
}

/** @param {number} each microseconds per decision */
function coresOf(each) {
  return (GOAL.perSecond * each) / 1e6;
}

/** @param {number} micros */
function us(micros) {
  return `${micros.toFixed(1)} µs`;
}

/**
 * @param {AllFigures['primaries']} primaries
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
 * @param {AllFigures['inFlight']} measured
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
