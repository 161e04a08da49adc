import { inspect } from 'node:util';
import { RateLimiterError } from 'distributed-rate-limiter';
import type { Random } from '../../kit/random.mjs';

/** What is fed at random, and how many of a hundred cases are its own. */
export interface Area {
  readonly name: string;
  readonly percent: number;
  /** Opens what the cases share: a limiter, a server. */
  open(): Fuzzed | Promise<Fuzzed>;
}

export interface Fuzzed {
  /**
   * One case, or several at once: it says how many, or nothing for one. It depends on nothing but what `random` picks.
   * Throws a `Finding` where its oracle says otherwise.
   */
  run(random: Random): number | void | Promise<number | void>;
  close?(): Promise<void>;
}

/** What should not be, with the input that shows it. */
export class Finding extends Error {
  constructor(what: string, input: unknown, cause?: unknown) {
    // No getter is run, no proxy asked.
    const shown = inspect(input, { depth: 5, maxStringLength: 2_000, customInspect: false });
    super(`${what}\nInput: ${shown}`, { cause });
  }
}

/**
 * What `work` settles with; a finding where a timer of `limitMs`, begun now, comes first. Timers run in the order in
 * which they are due, also after a busy machine let the process stand still: its clock would prove nothing.
 */
export async function settlesWithin<T>(
  limitMs: number,
  work: Promise<T>,
  input: () => unknown,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // What a timer before this one settled is heard of within two turns.
      setImmediate(() =>
        setImmediate(() => reject(new Finding(`not settled after ${limitMs} ms`, input()))),
      );
    }, limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The library's own error, or a finding: nothing else may ever come out. */
export function ownError(error: unknown, input: unknown): RateLimiterError {
  if (!(error instanceof RateLimiterError)) {
    throw new Finding(`an error that is not the library's own: ${inspect(error)}`, input, error);
  }
  return error;
}
