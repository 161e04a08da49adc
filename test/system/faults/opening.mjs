// @ts-check

/**
 * How long a call may wait for a first connection, by the documents.
 *
 * @param {number} timeoutMs
 */
export function openingMs(timeoutMs) {
  return Math.min(5_000, Math.max(1_000, 10 * timeoutMs));
}
