/** A first connection may take ten deadlines, for TLS and logging in, but never less or more than this. */
const OPENING_DEADLINES = 10;
const MIN_OPENING_MS = 1_000;
const MAX_OPENING_MS = 5_000;

/** For how many milliseconds a call with this deadline waits for a first connection. */
export function openingMs(timeoutMs: number): number {
  return Math.min(MAX_OPENING_MS, Math.max(MIN_OPENING_MS, OPENING_DEADLINES * timeoutMs));
}
