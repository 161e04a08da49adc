/** Counts the script calls to Redis that decisions caused, without those by which the live page only looks. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';

/**
 * @typedef {import('distributed-rate-limiter').StoreCallMessage} StoreCallMessage
 * @typedef {import('distributed-rate-limiter').StoreSubmission} StoreSubmission
 */

/** @type {AsyncLocalStorage<true>} */
const looking = new AsyncLocalStorage();
/** Calls of those who only look. @type {WeakSet<StoreSubmission>} */
const looks = new WeakSet();
let calls = 0;

subscribe('distributed-rate-limiter:store-submit', (message) => {
  if (looking.getStore() === true) looks.add(/** @type {StoreSubmission} */ (message));
});
subscribe('tracing:distributed-rate-limiter:store-call:start', (message) => {
  const { submissions } = /** @type {StoreCallMessage} */ (message);
  if (submissions.length === 0 || submissions.some((one) => !looks.has(one))) calls += 1;
});

/**
 * Makes calls that are not counted, unless Redis gets them together with others.
 *
 * @template T
 * @param {() => T} look
 * @returns {T}
 */
export function onlyLooking(look) {
  return looking.run(true, look);
}

export function callsAsked() {
  return calls;
}
