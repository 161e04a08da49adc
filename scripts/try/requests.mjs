/** Sends requests to a server under trial and reads its answers. */

/** @typedef {{ status: number, headers: Headers, body: string }} Answer */

/**
 * @param {string} url
 * @param {RequestInit} [init]
 * @returns {Promise<Answer>}
 */
export async function ask(url, init) {
  const response = await fetch(url, init);
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/**
 * Sends requests one after another.
 * @param {number} count
 * @param {string} url
 * @param {RequestInit} [init]
 */
export async function askInTurn(count, url, init) {
  /** @type {Answer[]} */
  const answers = [];
  for (let i = 0; i < count; i++) answers.push(await ask(url, init));
  return answers;
}

/** @param {readonly Answer[]} answers */
export function statuses(answers) {
  return runs(answers.map(({ status }) => String(status)));
}

/**
 * Counts equal neighbours: `200 ×3, 429 ×1`.
 *
 * @param {readonly string[]} values
 */
export function runs(values) {
  /** @type {{ value: string, times: number }[]} */
  const found = [];
  for (const value of values) {
    const last = found.at(-1);
    if (last?.value === value) last.times += 1;
    else found.push({ value, times: 1 });
  }
  return found.map(({ value, times }) => `${value} ×${times}`).join(', ');
}

/**
 * Whether Redis made the decisions: a degraded decision has no numbers, so its response has no `RateLimit` field.
 *
 * @param {readonly Answer[]} answers
 */
export function areReal(answers) {
  return answers.every(({ headers }) => headers.has('ratelimit'));
}

/**
 * The response fields that callers of a limited server read.
 *
 * @param {Answer | undefined} answer
 */
export function fields(answer) {
  const names = ['ratelimit-policy', 'ratelimit', 'retry-after', 'content-type'];
  return Object.fromEntries(names.map((name) => [name, answer?.headers.get(name) ?? null]));
}
