import type { Clock } from '../base/clock.ts';
import { show, StoreError, tooManyLimits } from '../base/errors.ts';
import type { RateLimiterError } from '../base/errors.ts';
import { causeOf } from '../redis/connection/clean-cause.ts';
import { warnOnce } from '../redis/clients/warn-once.ts';
import { connectionOfClient, connectionOfUrl } from '../redis/clients/connect.ts';
import type { ConnectionHold } from '../redis/clients/connect.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import { loadClientLibrary } from '../redis/clients/client-library.ts';
import type { ClientLibrary } from '../redis/clients/client-library.ts';
import type { Script } from '../redis/connection/script.ts';
import { checkRequest } from '../base/workerd.ts';
import { monotonicMs, realTime } from '../base/timers.ts';
import { encodeCalls } from './encode.ts';
import { isCrowded } from '../script/home.ts';
import { decideScript } from '../script/script.gen.ts';
import { LocalView, realLead } from './local-view.ts';
import { serverOf } from './server-clock.ts';
import type { Server } from './server-clock.ts';
import type { Call, Skew, Store } from './store.ts';

/** The decision script as a typed value: calls in, verdicts out. */
export const decideBatch: Script<Call> = {
  source: decideScript,

  encode: encodeCalls,

  settle(calls, reply, sentAtMs, node): void {
    const failures = new Map<string, RateLimiterError>();
    let skew: Skew | undefined;
    const nowMicros = readNow(calls, reply);
    calls[0]?.server?.heard(nowMicros, sentAtMs, node);
    readReplies(calls, reply as unknown[], (call, failure, at) => {
      if (failure === undefined) {
        call.settle(reply as readonly number[], at);
        return;
      }
      if (failure.startsWith('SKEWED')) {
        skew ??= { nowMicros, tookMs: monotonicMs() - sentAtMs, shapes: new Map() };
        if (call.server?.askAgain(call, skew) === true) {
          return;
        }
      }
      call.fail(sharedError(failures, failure));
    });
  },

  settleLate(calls, reply): void {
    readNow(calls, reply); // it has passed, so the server's clock is not set by it
    readReplies(calls, reply as unknown[], (call, failure, at) => {
      if (failure === undefined) {
        call.late?.(reply as readonly number[], at);
      }
    });
  },
};

/** Reads the time of the decisions. Throws if the reply does not have the form that these calls ask for. */
function readNow(calls: readonly Call[], reply: unknown): number {
  const expected = calls.reduce((sum, call) => sum + call.shape.width, 1);
  if (!Array.isArray(reply) || !areMarks(reply, expected)) {
    throw new Error(`expected ${expected} values`);
  }
  if (readIntegers(reply, 0, 1) !== undefined) {
    throw new Error('expected a time first');
  }
  return reply[0] as number;
}

/** Calls `tell` for each call: with why it failed, and where its integers begin in the reply. */
function readReplies(
  calls: readonly Call[],
  reply: unknown[],
  tell: (call: Call, failure: string | undefined, at: number) => void,
): void {
  let at = 1;
  for (const call of calls) {
    const end = at + call.shape.width;
    tell(call, readIntegers(reply, at, end), at);
    at = end;
  }
}

/** Whether reply[from..] holds only marks that the integers do not tell: pairs of an index and a text. */
function areMarks(reply: readonly unknown[], from: number): boolean {
  for (let i = from; i < reply.length; i += 2) {
    const at = Number(reply[i]);
    if (!(Number.isInteger(at) && at > 0 && at < from) || typeof reply[i + 1] !== 'string') {
      return false;
    }
  }
  return reply.length >= from;
}

/**
 * Converts reply[from..to) to numbers, in case the client leaves them as strings. Returns the message of an entry that
 * failed.
 */
function readIntegers(reply: unknown[], from: number, to: number): string | undefined {
  for (let i = from; i < to; i++) {
    const value = reply[i];
    if (!Number.isSafeInteger(value)) {
      if (typeof value !== 'string') {
        return `not a whole number: ${show(value)}`;
      }
      const number = Number(value);
      if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) {
        return value;
      }
      reply[i] = number;
    }
  }
  return undefined;
}

/** One error per script call and message. */
function sharedError(failures: Map<string, RateLimiterError>, message: string): RateLimiterError {
  let error = failures.get(message);
  if (error === undefined) {
    error = isCrowded(message) ? tooManyLimits() : refusedBy(message);
    failures.set(message, error);
  }
  return error;
}

function refusedBy(message: string): StoreError {
  const kind = /^[A-Z]+/.exec(message)?.[0] ?? 'an error';
  const cure =
    kind === 'UNREADABLE' || kind === 'WRONGTYPE'
      ? ' The key holds what this library did not write; `reset` of this identity removes it.'
      : '';
  return new StoreError('store_error', `Redis refused: ${kind}.${cure}`, {
    cause: causeOf(new Error(message)),
  });
}

/** State in Redis, shared by all processes. One script decides there, on Redis's own clock. */
export class RedisStore implements Store {
  readonly clock: Clock = {
    nowMicros: () => this.#server?.nowMicros() ?? Date.now() * 1_000,
  };
  readonly time: Clock = realTime;
  readonly isShared = true;
  readonly #redis: string | RedisClient;
  readonly #cluster: boolean;
  readonly #timeoutMs: number;
  readonly #sharded: boolean;
  #library: Promise<ClientLibrary> | undefined;
  #held: ConnectionHold<Call> | undefined;
  #server: Server | undefined;

  constructor(redis: string | RedisClient, cluster: boolean, timeoutMs: number, sharded: boolean) {
    this.#redis = redis;
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
    this.#sharded = sharded;
  }

  /** Loads the client library that a URL needs, so that the first call does not wait for that. */
  prepare(): void {
    if (typeof this.#redis === 'string') {
      void this.#load();
    }
  }

  submit(call: Call): void {
    checkRequest(this.#redis);
    this.#server ??= serverOf(this.#hold().connection);
    this.#server.submit(call);
  }

  local(): LocalView<Call> {
    checkRequest(this.#redis);
    this.#server ??= serverOf(this.#hold().connection);
    const { inFlight } = this.#held!.connection;
    return (this.#server.local ??= new LocalView(realTime, realLead, inFlight > 0));
  }

  warn(code: string, text: string): void {
    warnOnce(this.#hold().connection, code, text);
  }

  async close(): Promise<void> {
    await this.#held?.release();
  }

  /** Opens nothing and adds no listener before the first use. */
  #hold(): ConnectionHold<Call> {
    this.#held ??=
      typeof this.#redis === 'string'
        ? connectionOfUrl(
            this.#redis,
            this.#cluster,
            this.#timeoutMs,
            this.#sharded,
            this.#load(),
            decideBatch,
          )
        : connectionOfClient(this.#redis, decideBatch);
    return this.#held;
  }

  #load(): Promise<ClientLibrary> {
    const library = (this.#library ??= loadClientLibrary());
    library.catch(() => {}); // each call rejects with it
    return library;
  }
}
