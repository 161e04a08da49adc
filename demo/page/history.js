/** What the processes counted while this page was open: by second, by caller, by process. */
import { noCounts } from './counts.js';

/**
 * @typedef {import('./counts.js').Outcome} Outcome
 * @typedef {import('./counts.js').Counts} Counts
 * @typedef {Record<'store' | 'slice' | 'deny_cache' | 'none', number>} Sources
 *
 * @typedef {object} Process
 * @property {number} worker
 * @property {number} pid
 * @property {number} beganAt
 * @property {string} store
 * @property {readonly { route: string, caller: string, counts: Counts }[]} tally
 * @property {number} calls
 * @property {Sources} sources
 * @property {{ charged: number, spent: number }} prepaid
 *
 * @typedef {{ text: string, passesWithout: boolean, perSecond?: number, burst?: number }} Rule
 *
 * @typedef {object} Live
 * @property {{ kind: 'memory' | 'private' | 'yours', state?: 'runs' | 'stopped' | 'gone', pid?: number, starts?: number }} redis
 * @property {{ prepay: boolean, denyCache: boolean }} saving
 * @property {Readonly<Record<string, Rule>>} rules
 * @property {readonly Process[]} processes
 *
 * @typedef {object} Look what is new at one look
 * @property {number} askedAt
 * @property {number} gotAt
 * @property {number} starts of the demo's own Redis
 * @property {Map<number, Map<string, number>>} passed by worker, then by route and caller
 * @property {Readonly<Record<string, number>>} sums calls, decisions by source, prepaid units
 *
 * @typedef {{ from: number, to: number, counts: Map<string, Counts>, store: string }} Slot what was new in about a second
 */

/** The order of the colours in the chart, from below. @type {readonly (readonly [Outcome, string])[]} */
export const OUTCOMES = [
  ['passed', 'passed: Redis was asked'],
  ['passedHere', 'passed: paid for beforehand'],
  ['refused', 'refused: Redis was asked'],
  ['refusedHere', 'refused: known beforehand'],
  ['passedDegraded', 'passed without Redis'],
  ['refusedDegraded', 'refused without Redis'],
];

/** How far back slots go. */
export const SHOWN_MS = 60_000;
const SLOT_MS = 950;
/** The sum of all processes and the share of calls are those of this time. */
const WINDOW_MS = 10_000;

/** @param {Counts} counts */
export function sumOf(counts) {
  return OUTCOMES.reduce((sum, [outcome]) => sum + counts[outcome], 0);
}

/** @param {string} route @param {string} caller */
export const keyOf = (route, caller) => `${route} ${caller}`;

/** @param {Map<string, Counts>} map @param {string} key */
function countsAt(map, key) {
  const counts = map.get(key) ?? noCounts();
  map.set(key, counts);
  return counts;
}

/** @param {Process} process @returns {Record<string, number>} */
function numbersOf({ calls, sources, prepaid }) {
  return { calls, ...sources, ...prepaid };
}

export function openHistory() {
  /** By process: what it said last. @type {Map<number, { tally: Map<string, Counts>, numbers: Record<string, number> }>} */
  const last = new Map();
  /** @type {Map<string, Counts>} */
  const totals = new Map();
  /** @type {Record<string, number>} */
  const sums = {};
  /** @type {Slot[]} */
  const slots = [];
  let store = '';
  /** @type {Look[]} */
  const looks = [];

  /**
   * What a process counts goes up until it ends. So what is new of each is added up, and nothing of what it counted
   * before this page was opened, on the same machine and by the same clock.
   *
   * @param {Process} process
   */
  function newsOf(process) {
    const { pid, beganAt, tally } = process;
    const known = last.get(pid);
    const fromStart = known !== undefined || beganAt > performance.timeOrigin;
    const numbers = numbersOf(process);
    const before = known?.numbers ?? (fromStart ? {} : numbers);
    const news = tally.map(({ route, caller, counts }) => {
      const key = keyOf(route, caller);
      const old = known?.tally.get(key) ?? (fromStart ? noCounts() : counts);
      // A process forgets callers that were quiet for long, and begins to count them again.
      const base = sumOf(counts) < sumOf(old) ? noCounts() : old;
      const more = noCounts();
      for (const [outcome] of OUTCOMES) more[outcome] = counts[outcome] - base[outcome];
      return { key, more };
    });
    const tallied = new Map(
      tally.map(({ route, caller, counts }) => [keyOf(route, caller), counts]),
    );
    last.set(pid, { tally: tallied, numbers });
    const more = Object.entries(numbers).map(
      ([name, count]) => /** @type {const} */ ([name, count - (before[name] ?? 0)]),
    );
    return { news, more };
  }

  /** The slot that ends now: the last one, or a new one. @param {number} now */
  function slotAt(now) {
    const latest = slots.at(-1);
    if (latest !== undefined && latest.to - latest.from < SLOT_MS) {
      latest.to = Math.max(latest.to, now);
      return latest;
    }
    const slot = { from: latest?.to ?? now, to: now, counts: new Map(), store };
    slots.push(slot);
    while ((slots[0]?.to ?? now) < now - SHOWN_MS) slots.shift();
    return slot;
  }

  return {
    slots,
    totals,
    sums,
    /** The looks of the last ten seconds, after the one before them. */
    window: () => {
      const since = (looks.at(-1)?.gotAt ?? 0) - WINDOW_MS;
      return looks.filter(({ gotAt }) => gotAt >= since);
    },
    /** @param {Live} live @param {number} askedAt @param {number} gotAt */
    take: ({ processes, redis }, askedAt, gotAt) => {
      const now = slotAt(gotAt);
      /** @type {Record<string, number>} */
      const fresh = {};
      /** @type {Look['passed']} */
      const passed = new Map();
      for (const process of processes) {
        const { news, more } = newsOf(process);
        /** @type {Map<string, number>} */
        const own = new Map();
        for (const { key, more: counts } of news) {
          const [second, total] = [countsAt(now.counts, key), countsAt(totals, key)];
          for (const [outcome] of OUTCOMES) {
            second[outcome] += counts[outcome];
            total[outcome] += counts[outcome];
          }
          own.set(key, counts.passed + counts.passedHere);
        }
        passed.set(process.worker, own);
        for (const [name, count] of more) {
          fresh[name] = (fresh[name] ?? 0) + count;
          sums[name] = (sums[name] ?? 0) + count;
        }
      }
      looks.push({ askedAt, gotAt, starts: redis.starts ?? 1, passed, sums: fresh });
      while ((looks[0]?.gotAt ?? gotAt) < gotAt - 2 * WINDOW_MS) looks.shift();
    },
    /** @param {string} now how Redis is, in the words of the page */
    noteStore: (now) => {
      store = now;
      slotAt(performance.now()).store = now;
    },
  };
}

/** @typedef {ReturnType<typeof openHistory>} History */
