import { inspect } from 'node:util';
import { RateLimiterError } from 'distributed-rate-limiter';
import type { Random } from '../../kit/random.mjs';

/** A kind of random input, and its share of the cases, in percent. */
export interface Area {
  readonly name: string;
  readonly percent: number;
  /** Opens what the cases share: a limiter, a server. */
  open(): Fuzzed | Promise<Fuzzed>;
}

export interface Fuzzed {
  /**
   * Runs one case, or several at once and returns how many; undefined means one. It depends only on the choices of
   * `random`. Throws a `Finding` if its oracle disagrees.
   */
  run(random: Random): number | void | Promise<number | void>;
  close?(): Promise<void>;
}

/** A fault found, with the input that shows it. */
export class Finding extends Error {
  constructor(what: string, input: unknown, cause?: unknown) {
    // Runs no getter and calls no proxy.
    const shown = inspect(input, { depth: 5, maxStringLength: 2_000, customInspect: false });
    super(`${what}\nInput: ${shown}`, { cause });
  }
}

/**
 * Settles as `work` does; throws a finding if a timer of `limitMs`, started now, fires first. Timers fire in the order
 * in which they are due, even after a pause of the process, in which the clock runs on.
 */
export async function settlesWithin<T>(
  limitMs: number,
  work: Promise<T>,
  input: () => unknown,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      // The result of an earlier timer arrives within two turns of the event loop.
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

/** The library's own error; any other error is a finding. */
export function ownError(error: unknown, input: unknown): RateLimiterError {
  if (!(error instanceof RateLimiterError)) {
    throw new Finding(`an error that is not the library's own: ${inspect(error)}`, input, error);
  }
  return error;
}
