/** One refusal, without the identity. */
export interface PublishedRefusal {
  /** Unix milliseconds on the clock of the process. */
  readonly at: number;
  /** The first 16 hexadecimal digits of the identity's digest. */
  readonly caller: string;
  readonly reason: string;
  /** The names of the limits that refused. */
  readonly limitedBy: readonly string[];
  readonly retryAfterMs?: number;
}

/** What a process tells of its refusals, as JSON on the channel of its namespace. */
export interface RefusalMessage {
  readonly v: 1;
  /** A random name, the same in all messages of a process. */
  readonly process: string;
  /** Refusals since the last message: the first of them, and how many are left out. */
  readonly refusals: readonly PublishedRefusal[];
  readonly leftOut: number;
  /** In each fifth message: refusals of the last five to ten minutes, and of whom most. */
  readonly recent?: {
    readonly total: number;
    /** Digest, refusals, and how many of them may be of others. */
    readonly callers: readonly (readonly [caller: string, count: number, error: number])[];
  };
}

/** The channel on which refusals of a namespace are published; also the key by which a cluster finds a node. */
export function channelOf(namespace: string): string {
  return `${namespace}:refusals`;
}

/** Reads a message; undefined for any other text, because any client may publish. */
export function readRefusalMessage(text: string): RefusalMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isMessage(value) ? value : undefined;
}

function isMessage(value: unknown): value is RefusalMessage {
  const { v, process, refusals, leftOut, recent } = (value ?? {}) as Record<string, unknown>;
  return (
    v === 1 &&
    typeof process === 'string' &&
    isCount(leftOut) &&
    Array.isArray(refusals) &&
    refusals.every(isRefusal) &&
    (recent === undefined || isRecent(recent))
  );
}

function isRefusal(value: unknown): boolean {
  const { at, caller, reason, limitedBy, retryAfterMs } = (value ?? {}) as Record<string, unknown>;
  return (
    isCount(at) &&
    at <= 8.64e15 &&
    isDigest(caller) &&
    typeof reason === 'string' &&
    Array.isArray(limitedBy) &&
    limitedBy.every((name) => typeof name === 'string') &&
    (retryAfterMs === undefined || isCount(retryAfterMs))
  );
}

function isRecent(value: unknown): boolean {
  const { total, callers } = (value ?? {}) as Record<string, unknown>;
  return (
    isCount(total) &&
    Array.isArray(callers) &&
    callers.every(
      (each) => Array.isArray(each) && isDigest(each[0]) && isCount(each[1]) && isCount(each[2]),
    )
  );
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isDigest(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value);
}
