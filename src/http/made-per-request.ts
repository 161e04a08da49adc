import { sharedByCopies } from '../base/copies.ts';
import type { AnyLimiter } from '../limiter/limiter-or-options.ts';
import { configurationOf } from '../limiter/charged-keys.ts';

/** A function on the call stack, and the position in it. */
interface Frame {
  readonly position: string;
  readonly inFunction: string;
}

/** Counts the uses of a guard that was made and called by the same functions. */
interface Suspect {
  uses: number;
}

/** Guards under suspicion, by the code that makes them and by their limits. */
const suspects = sharedByCopies('suspects', () => new Map<string, Suspect | 'reported'>());

/** The number of callers compared: the adapter's own functions, and the callers of the middleware. */
const NEAREST = 5;
const FRAMES = 12;
/** Bounds the memory if limits are made from a request's content. */
const MAX_KINDS = 1_000;

/**
 * Warns of guards that are made anew for each request. A guard is suspected if a function that was on the stack when
 * it was made also passes it its first request. A guard made at startup is called by the framework's own functions
 * instead. The second suspect is reported if the first saw one request only, and the same code made both with the
 * same numbers. A guard that is made on demand and kept does not meet this.
 */
export class Making {
  readonly #frames: readonly Frame[];
  readonly #suspect: Suspect = { uses: 0 };

  /** @param factory the function that the application calls to make the guard */
  constructor(factory: Function) {
    this.#frames = framesAbove(factory, FRAMES);
  }

  /**
   * Records that the guard is used for a request.
   *
   * @param use the function that is called for the request
   */
  noteUse(use: Function, limiter: AnyLimiter): void {
    this.#suspect.uses += 1;
    if (this.#suspect.uses === 1 && this.#isSuspected(use) && this.#isSecond(limiter)) {
      process.emitWarning(
        `A guard is made for each request, at ${this.#frames[0]!.position}. The limiter that is made with it knows of no ` +
          'earlier request, or opens a connection of its own. ' +
          'Make the guard once, when the program starts, and use it for every request.',
        { type: 'RateLimiterWarning', code: 'DRL_MADE_PER_REQUEST' },
      );
    }
  }

  #isSuspected(use: Function): boolean {
    return framesAbove(use, NEAREST).some(({ inFunction }) =>
      this.#frames.some((frame) => frame.inFunction === inFunction),
    );
  }

  #isSecond(limiter: AnyLimiter): boolean {
    const kind = `${this.#frames[0]!.position}\n${configurationOf(limiter, limiter.limits)}`;
    const first = suspects.get(kind);
    if (first === 'reported') {
      return false;
    }
    const second = first?.uses === 1;
    if (first !== undefined || suspects.size < MAX_KINDS) {
      suspects.set(kind, second ? 'reported' : this.#suspect);
    }
    return second;
  }
}

/** The callers of `below`, the nearest first, without those of the runtime itself. Empty if they are unknown. */
function framesAbove(below: Function, count: number): readonly Frame[] {
  // oxlint-disable-next-line unbound-method -- it is put back
  const { prepareStackTrace, stackTraceLimit } = Error;
  const holder: { stack?: unknown } = {};
  try {
    Error.stackTraceLimit = count;
    Error.prepareStackTrace = (_, sites) => sites;
    Error.captureStackTrace(holder, below);
    const { stack } = holder;
    return Array.isArray(stack) ? (stack as NodeJS.CallSite[]).flatMap(frameOf) : [];
  } catch {
    // Another runtime, or one whose intrinsics are frozen.
    return [];
  } finally {
    try {
      Error.prepareStackTrace = prepareStackTrace;
      Error.stackTraceLimit = stackTraceLimit;
    } catch {
      // Frozen: nothing was changed.
    }
  }
}

function frameOf(site: NodeJS.CallSite): Frame[] {
  const file = site.getFileName();
  if (typeof file !== 'string' || file.startsWith('node:')) {
    return [];
  }
  // Only V8 has these; without them, functions are distinguished by name, which is less exact.
  const { getEnclosingLineNumber, getEnclosingColumnNumber } = site as {
    getEnclosingLineNumber?: () => number;
    getEnclosingColumnNumber?: () => number;
  };
  const inFunction =
    getEnclosingLineNumber === undefined || getEnclosingColumnNumber === undefined
      ? `${file} ${String(site.getFunctionName())}`
      : `${file}:${getEnclosingLineNumber.call(site)}:${getEnclosingColumnNumber.call(site)}`;
  const position = `${file}:${site.getLineNumber()}:${site.getColumnNumber()}`;
  return [{ position, inFunction }];
}
