/** A first connection may take ten times `timeoutMs`, for TLS and logging in, within these bounds. */
const OPENING_DEADLINES = 10;
const MIN_OPENING_MS = 1_000;
const MAX_OPENING_MS = 5_000;

/** How long a call with this `timeoutMs` waits for a first connection, in milliseconds. */
export function openingMs(timeoutMs: number): number {
  return Math.min(MAX_OPENING_MS, Math.max(MIN_OPENING_MS, OPENING_DEADLINES * timeoutMs));
}
