/** The proof: sends real HTTP requests of one caller all at once, and counts how many each worker admitted. */
import { randomUUID } from 'node:crypto';
import { Agent, get } from 'node:http';

const TIMEOUT_MS = 10_000;

/**
 * @typedef {object} Answer what one request came to
 * @property {number} status 0: none came
 * @property {number} worker which process gave it, from 1; 0: none
 * @property {string} title of the refusal, or why no answer came
 * @property {boolean} degraded
 * @property {number} retryAfterMs 0: it does not say
 *
 * @typedef {{ worker: number, answered: number, admitted: number }} Share
 *
 * @typedef {object} Outcome
 * @property {string} caller whose limit is used up now: its API key
 * @property {readonly Share[]} shares in the order of the workers' numbers
 * @property {number} admitted the sum of what the workers admitted
 * @property {number} tookMs
 * @property {number} nextAfterMs until one more passes, as the last refusal said; 0 without a refusal
 * @property {string | undefined} failure why this proves nothing, or the opposite
 */

/**
 * @param {object} burst
 * @param {string} burst.url of a route on which nothing comes back while the burst lasts
 * @param {number} burst.limit how many have to pass
 * @param {number} burst.requests more than the limit
 * @param {number} burst.connections kept alive; at least two for each worker
 * @param {number} burst.workers how many have to take part
 * @returns {Promise<Outcome>}
 */
export async function prove({ url, limit, requests, connections, workers }) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  // A new caller has its whole limit, whatever ran on this Redis before.
  const caller = `proof-${randomUUID()}`;
  const startedAt = performance.now();
  const answers = await Promise.all(
    Array.from({ length: requests }, () => ask(url, caller, agent)),
  );
  const tookMs = performance.now() - startedAt;
  agent.destroy();

  const shares = Array.from({ length: workers }, (_, i) => shareOf(i + 1, answers));
  const admitted = shares.reduce((sum, share) => sum + share.admitted, 0);
  const nextAfterMs = answers.findLast(({ status }) => status === 429)?.retryAfterMs ?? 0;
  const failure = failureOf(answers, shares, admitted, limit);
  return { caller, shares, admitted, tookMs, nextAfterMs, failure };
}

/**
 * @param {number} worker
 * @param {readonly Answer[]} answers
 * @returns {Share}
 */
function shareOf(worker, answers) {
  const own = answers.filter((answer) => answer.worker === worker);
  return { worker, answered: own.length, admitted: own.filter(isAdmitted).length };
}

/** @param {Answer} answer */
function isAdmitted({ status, degraded }) {
  return status === 200 && !degraded;
}

/**
 * @param {readonly Answer[]} answers
 * @param {readonly Share[]} shares
 * @param {number} admitted
 * @param {number} limit
 */
function failureOf(answers, shares, admitted, limit) {
  const undecided = answers.filter((answer) => !isAdmitted(answer) && answer.status !== 429);
  if (undecided.length > 0) {
    const { status, title } = /** @type {Answer} */ (undecided[0]);
    return `${undecided.length} of ${answers.length} requests got no decision (the first: ${status} ${title}), so the sum says nothing.`;
  }
  if (admitted !== limit) {
    return `${admitted} of ${answers.length} requests were admitted; exactly ${limit} had to be.`;
  }
  const idle = shares.filter(({ answered }) => answered === 0);
  if (idle.length > 0) {
    return `Worker ${idle.map(({ worker }) => worker).join(' and ')} answered nothing, so the sum says nothing about sharing.`;
  }
  return undefined;
}

/**
 * @param {string} url
 * @param {string} caller
 * @param {Agent} agent
 * @returns {Promise<Answer>}
 */
function ask(url, caller, agent) {
  return new Promise((resolve) => {
    /** @param {Error} error */
    const fail = (error) =>
      resolve({ status: 0, worker: 0, title: error.message, degraded: false, retryAfterMs: 0 });
    const options = { agent, headers: { 'x-api-key': caller }, timeout: TIMEOUT_MS };
    const request = get(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('error', fail);
      response.on('end', () => {
        try {
          const { title = '', degraded = false } = JSON.parse(text);
          resolve({
            status: response.statusCode ?? 0,
            worker: Number(response.headers['x-worker'] ?? 0),
            title,
            degraded,
            retryAfterMs: 1_000 * Number(response.headers['retry-after'] ?? 0),
          });
        } catch {
          fail(new Error('a body that is not JSON'));
        }
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    request.on('error', fail);
  });
}
