/** The demo's texts, kept in one place so that they use the same words. */
import process from 'node:process';
import { styleText } from 'node:util';
import { RULES } from './limits.mjs';

/** @type {(style: 'bold' | 'dim' | 'green' | 'red' | 'yellow', text: string) => string} */
const paint =
  process.stdout.isTTY && process.stdout.hasColors() ? styleText : (_style, text) => text;

/**
 * @typedef {object} Place where the limits live
 * @property {'memory' | 'private' | 'yours'} kind
 * @property {string} [url]
 * @property {number} [pid] of the private server
 */

/**
 * @param {string} origin
 * @param {number} workers
 * @param {Place} place
 */
export function introduction(origin, workers, place) {
  const who = workers === 1 ? 'One process' : `${workers} processes behind one port`;
  const shared = workers === 1 ? 'limits live' : 'limits shared';
  return `
${paint('bold', 'distributed-rate-limiter demo')}  ${paint('bold', paint('green', origin))}
${who}; ${shared} ${whereOf(place)}.

  GET /search  ${ruleOf('search', place)}
  GET /hello   ${ruleOf('hello', place)}
  GET /export  ${ruleOf('export', place)}
  GET /report  ${ruleOf('report', place)}
  GET /peek    what each has left; charges nothing
  GET /metrics for Prometheus

A caller is an X-API-Key, or else an address. In a browser ${origin} is a live page${place.kind === 'private' ? ', with buttons that break its Redis' : ''}.
`;
}

/** @param {Place} place */
function whereOf({ kind, url = '', pid }) {
  if (kind === 'memory') return 'in its memory (on Redis: -- --redis, or set REDIS_URL)';
  return kind === 'private'
    ? `in a private redis-server (${addressOf(url)}, pid ${pid})`
    : `in the Redis of REDIS_URL (${addressOf(url)})`;
}

/**
 * Never the whole URL: it may hold a password.
 * @param {string} url
 */
function addressOf(url) {
  if (!URL.canParse(url)) return 'not a URL';
  const { protocol, host, pathname } = new URL(url);
  return protocol === 'unix:' ? pathname : host;
}

/**
 * @param {string} url
 * @param {string} why
 */
export function redisUnusable(url, why) {
  return `Redis (${addressOf(url)}) cannot be used: ${why}
Is REDIS_URL right, and is that server up? The demo can start one of its own: npm run demo -- --redis`;
}

/**
 * @param {import('./limits.mjs').RuleName} name
 * @param {Place} place
 */
function ruleOf(name, { kind }) {
  const rule = RULES[name];
  const what =
    'places' in rule
      ? `${rule.places.max} at a time`
      : `${rule.rate} per ${rule.period}${'burst' in rule ? `, burst ${rule.burst}` : ''}`;
  const { failStrategy } = rule;
  const limit = `${what} for each caller`.padEnd(37);
  if (kind === 'memory') return limit.trimEnd();
  return `${limit} without Redis: ${failStrategy === 'open' ? 'passes' : '503'}`;
}

/**
 * @param {import('./proof.mjs').Outcome} outcome
 * @param {{ requests: number, connections: number, limit: number }} burst
 * @param {readonly number[]} pids of the workers
 */
export function proofTable({ shares, admitted, tookMs, nextAfterMs, failure }, burst, pids) {
  const { requests, connections, limit } = burst;
  const answered = shares.reduce((sum, share) => sum + share.answered, 0);
  const rows =
    shares.length === 1
      ? []
      : shares.map((share, i) =>
          proofRow(
            `worker ${String(share.worker).padEnd(2)} pid ${pids[i]}`,
            share.answered,
            share.admitted,
          ),
        );
  const sum = proofRow(shares.length === 1 ? `pid ${pids[0]}` : 'sum', answered, admitted);
  const verdict =
    failure === undefined
      ? paint('green', `= the limit of ${limit}, exactly`)
      : paint('red', `the limit is ${limit}`);
  return `Proof: ${requests} requests of one caller to /export at once, on ${connections} connections, in ${duration(tookMs)}

${[...rows, `${paint('bold', sum)}  ${verdict}`].join('\n')}
${failure === undefined ? `\nNothing came back meanwhile: that caller's next request passes in ${duration(nextAfterMs)}.\n` : ''}`;
}

/**
 * @param {string} name
 * @param {number} answered
 * @param {number} admitted
 */
function proofRow(name, answered, admitted) {
  const counts = [answered, admitted].map((count) => String(count).padStart(5));
  return `  ${name.padEnd(22)} ${counts[0]} answered ${counts[1]} admitted`;
}

/** @param {string} failure */
export function proofFailed(failure) {
  return `${paint('red', 'The proof failed.')} ${failure}`;
}

/**
 * @param {string} origin
 * @param {Place} place
 * @param {string} exhausted an API key whose limit is used up
 * @param {number | undefined} worker the process id of one of several workers
 */
export function linesToTry(origin, { kind, pid }, exhausted, worker) {
  /** @type {[line: string, meaning: string][]} */
  const lines = [
    [`curl -i ${origin}/hello`, 'once'],
    [`for i in 1 2 3 4 5 6 7; do curl -s ${origin}/hello; done`, '5 pass, then 429'],
    [`curl -s -H 'X-API-Key: alice' ${origin}/hello`, 'another caller, its own limit'],
    [`curl -s ${origin}/peek`, 'what you have left'],
    [`curl -i -H 'X-API-Key: ${exhausted}' ${origin}/export`, 'the caller of the proof'],
  ];
  if (kind === 'private') {
    lines.push(
      [`kill -STOP ${pid}`, 'Redis hangs; kill -CONT wakes it'],
      [`kill -KILL ${pid}`, 'Redis is gone; it comes back in 3 s'],
    );
  }
  if (worker !== undefined) lines.push([`kill -KILL ${worker}`, 'a worker less; limits hold']);
  return `${paint('bold', 'Try, in another terminal')}
${lines.map(([line, meaning]) => `  ${line}  ${paint('dim', `# ${meaning}`)}`).join('\n')}

Ctrl-C ends it.
`;
}

/**
 * @param {Place} place
 * @param {import('./together.mjs').Rules} rules
 */
export function togetherIntroduction(place, { BURST, MONTH, PLACES, TOKENS }) {
  const rows = [
    ['burst', 'tokenBucket', `${BURST.rate} per ${BURST.period}, one comes back every 12 s`],
    ['month', 'fixedWindow', `${MONTH.rate} per calendar ${MONTH.period}, ${MONTH.timeZone}`],
    ['places', 'concurrency', `${PLACES.max} at the same time, a crash frees one in ${PLACES.ttl}`],
    [
      'tokens',
      'tokenBucket',
      `${whole(TOKENS.rate)} per ${TOKENS.period}, in a limiter of its own`,
    ],
  ];
  return `
${paint('bold', 'distributed-rate-limiter demo: several limits, one decision')}
One process; limits live ${whereOf(place)}.

${rows.map(([name = '', factory = '', rule = '']) => `  ${paint('bold', name.padEnd(8))}${factory.padEnd(13)}${paint('dim', rule)}`).join('\n')}
`;
}

/**
 * @typedef {object} Shown what is shown of a decision
 * @property {readonly Readonly<{ name: string, limit: number, remaining?: number | undefined }>[]} limits
 * @property {boolean} [allowed]
 * @property {string} [reason]
 * @property {number | undefined} [retryAfterMs]
 * @property {readonly string[]} [limitedBy]
 */

/** @param {string} title */
export function togetherHeading(title) {
  return `${paint('bold', title)}\n`;
}

/**
 * @param {string} number
 * @param {string} what
 * @param {Shown} decision without `allowed`: only what is left
 */
export function leaseRow(number, what, decision) {
  const { limits, allowed } = decision;
  const left = limits.map(({ name, limit, remaining = 0 }) => {
    const text = `${name} ${bar(remaining, limit)} ${String(remaining).padStart(String(limit).length)}`;
    return decision.reason === 'limited' && decision.limitedBy?.includes(name) === true
      ? paint('red', text)
      : text;
  });
  let answer = paint('green', 'passes ');
  if (allowed === undefined) answer = '       ';
  else if (!allowed) answer = paint('red', 'refused');
  return `  ${number.padStart(3)}  ${what.padEnd(16)}${answer}   ${left.join('   ')}${whyOf(decision)}`;
}

/** @param {Shown} decision */
function whyOf({ reason, retryAfterMs, limitedBy = [] }) {
  if (reason !== 'limited' || retryAfterMs === undefined) return '';
  return `   ${paint('dim', `by ${limitedBy.join(', ')}; charged nothing; in ${duration(retryAfterMs)}`)}`;
}

/** @param {number} left @param {number} limit */
function bar(left, limit) {
  const cells = Math.min(limit, 10);
  // Not full before it is, and not empty either.
  const full = left === 0 ? 0 : Math.max(1, Math.floor((cells * left) / limit));
  return '■'.repeat(full) + '□'.repeat(cells - full);
}

/**
 * @param {'reserve' | 'settle'} verb
 * @param {number} units
 * @param {number} left
 */
export function reservationRow(verb, units, left) {
  const meaning = verb === 'reserve' ? 'estimated' : 'used in the end';
  return `       ${verb.padEnd(9)}${whole(units).padStart(6)}  ${paint('dim', meaning.padEnd(17))}${whole(left).padStart(6)} left`;
}

export function liveNote() {
  return `${paint('bold', 'Going on: a call each half second, each at work for 2.5 s')}  ${paint('dim', '# Ctrl-C ends it')}\n`;
}

/** @param {number} number */
function whole(number) {
  return number.toLocaleString('en-US');
}

/** @param {import('./serve.mjs').StoreState} state */
export function storeNote(state) {
  const notes = {
    away: 'Redis is away: /hello passes degraded, /export answers 503, both at once.',
    hung: 'Redis does not answer: /hello passes degraded, /export answers 503.',
    ready: 'Redis is back: every limit holds again.',
  };
  return note(state === 'ready' ? 'green' : 'yellow', notes[state]);
}

/**
 * @param {number} worker
 * @param {boolean} replaced
 */
export function workerNote(worker, replaced) {
  return replaced
    ? note('yellow', `Worker ${worker} ended; another one took its place. No limit was lost.`)
    : note('red', `Worker ${worker} ended, and no other one could be started in its place.`);
}

/**
 * @param {'green' | 'yellow' | 'red'} style
 * @param {string} text
 */
function note(style, text) {
  return `${paint('dim', new Date().toTimeString().slice(0, 8))}  ${paint(style, text)}`;
}

/** @param {number} ms */
function duration(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 2 * 86_400_000) return `${Math.floor(ms / 60_000)} min`;
  return `${Math.floor(ms / 86_400_000)} days`;
}
