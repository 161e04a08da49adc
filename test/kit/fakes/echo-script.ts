import type { QueuedCall } from '../../../src/redis/connection/queued-call.ts';
import type { Script } from '../../../src/redis/connection/script.ts';
import type { RateLimiterError } from '../../../src/base/errors.ts';

/** A call that records how it ended, to test the connection that carries calls. */
export class EchoCall implements QueuedCall {
  readonly key: string;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  /** The reply's value for this call. */
  answer: unknown;
  error: RateLimiterError | undefined;
  /** How often the call was answered: at most once. */
  times = 0;

  constructor(key: string, { timeoutMs = 250, maxInFlight = 10_000 } = {}) {
    this.key = key;
    this.timeoutMs = timeoutMs;
    this.maxInFlight = maxInFlight;
  }

  settle(answer: unknown): void {
    this.times += 1;
    this.answer = answer;
  }

  fail(error: RateLimiterError): void {
    this.times += 1;
    this.error = error;
  }

  get reason(): unknown {
    return (this.error as { reason?: unknown } | undefined)?.reason;
  }
}

/** One key per call, at most four calls per batch; the reply has one value for each call. */
export const echoScript: Script<EchoCall> = {
  source: { text: 'the text', sha1: 'the sha1' },
  encode: (calls, from) => {
    const mine = calls.slice(from, from + 4);
    return { keys: mine.map(({ key }) => key), args: ['x'], taken: mine.length };
  },
  settle: (calls, reply) => {
    if (!Array.isArray(reply) || reply.length !== calls.length) {
      throw new TypeError(`expected ${calls.length} values`);
    }
    calls.forEach((call, i) => call.settle(reply[i]));
  },
};
