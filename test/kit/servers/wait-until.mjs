// @ts-check
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Calls `check` repeatedly until it returns something truthy, and returns that.
 *
 * A `check` that throws counts as "not yet"; its last error becomes the `cause` when time is up.
 *
 * @template T
 * @param {string} what what is waited for, for the message when it never comes
 * @param {() => T | Promise<T>} check
 * @param {{ timeoutMs?: number, everyMs?: number, giveUp?: () => boolean }} [options] at most `timeoutMs` (30 s), asking
 *   each `everyMs` (20 ms), and no longer than until `giveUp` says that it cannot come any more
 * @returns {Promise<T>}
 */
export async function waitUntil(
  what,
  check,
  { timeoutMs = 30_000, everyMs = 20, giveUp = () => false } = {},
) {
  const start = performance.now();
  /** @type {unknown} */
  let cause;
  do {
    try {
      const answer = await check();
      if (answer) return answer;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(everyMs);
  } while (performance.now() < start + timeoutMs && !giveUp());
  const waited = Math.round(performance.now() - start);
  throw new Error(`waited ${waited} ms in vain for ${what}`, { cause });
}
