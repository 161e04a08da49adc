import { keysOf, readVerdicts } from '../algorithms/decide.ts';
import type { Shape } from '../algorithms/decide.ts';
import { StoreError } from '../errors.ts';
import { connectionOfClient, connectionOfUrl } from '../redis/connect.ts';
import type { Held, RedisClient } from '../redis/connect.ts';
import type { Encoded, Script } from '../redis/script.ts';
import { decideScript } from './scripts.gen.ts';
import type { Call, Store } from './store.ts';

/** More keys block other clients for longer than they save: 128 take the server about half a millisecond. */
const MAX_KEYS = 128;
const MAX_ENTRIES = 1_024;
/** The first connection may take this many deadlines: a library is loaded, TLS is agreed on. */
const CONNECT_DEADLINES = 10;

/** The decision script as a typed value: calls in, verdicts out. */
export const decideBatch: Script<Call> = {
  source: decideScript,

  /** Neighbours that share a shape share a run; neighbours that share a key as well share that key. */
  encode(calls, from): Encoded {
    const shapes: Shape[] = [];
    const keys: string[] = [];
    const runs: string[] = [];
    let shape: Shape | undefined;
    let index = 0;
    let key: string | undefined;
    let groups = 0;
    let times = 0;
    const endRun = (): void => {
      if (groups > 0) {
        runs.push(String(index), String(groups), String(times));
      }
    };
    let to = from;
    for (; to < calls.length && to - from < MAX_ENTRIES; to++) {
      const call = calls[to]!;
      const again = call.shape === shape && call.key === key;
      if (!again && keys.length + call.shape.rules.length > MAX_KEYS && to > from) {
        break;
      }
      if (again && groups === 1) {
        times += 1;
        continue;
      }
      if (again) {
        // The key of a run's last group occurs again: from here on it is a run of its own.
        groups -= 1;
        endRun();
        groups = 1;
        times = 2;
        continue;
      }
      if (call.shape === shape && times === 1) {
        groups += 1;
      } else {
        endRun();
        groups = 1;
        times = 1;
      }
      if (call.shape !== shape) {
        shape = call.shape;
        index = shapes.indexOf(shape) + 1;
        if (index === 0) {
          index = shapes.push(shape);
        }
      }
      key = call.key;
      if (shape.rules.length === 1 && shape.rules[0]!.suffix === '') {
        keys.push(key);
      } else {
        keys.push(...keysOf(key, shape));
      }
    }
    endRun();
    const args = [String(shapes.length)];
    for (const each of shapes) {
      args.push(...each.args);
    }
    args.push(...runs);
    return { keys, args, taken: to - from };
  },

  settle(calls, reply): void {
    const expected = calls.reduce((sum, call) => sum + call.shape.width, 1);
    if (!Array.isArray(reply) || reply.length !== expected) {
      throw new Error(`expected ${expected} values`);
    }
    const now = readIntegers(reply, 0, 1) === undefined ? (reply[0] as number) : Number.NaN;
    if (!Number.isSafeInteger(now)) {
      throw new Error('expected a time first');
    }
    const failures = new Map<string, StoreError>();
    let place = 1;
    for (const call of calls) {
      const end = place + call.shape.width;
      const failure = readIntegers(reply, place, end);
      if (failure !== undefined) {
        call.fail(sharedError(failures, failure));
      } else {
        call.settle(readVerdicts(call.shape, reply, place), now);
      }
      place = end;
    }
  },
};

/**
 * Makes numbers of reply[from..to), where the client was told to leave them as strings, and returns the
 * message of an entry that failed.
 */
function readIntegers(reply: unknown[], from: number, to: number): string | undefined {
  for (let i = from; i < to; i++) {
    const value = reply[i];
    if (typeof value !== 'number') {
      const text = String(value);
      if (typeof value !== 'string' || !/^-?\d+$/.test(text)) {
        return text;
      }
      reply[i] = Number(text);
    }
  }
  return undefined;
}

/** One error per script call and message. */
function sharedError(failures: Map<string, StoreError>, message: string): StoreError {
  let error = failures.get(message);
  if (error === undefined) {
    const kind = /^[A-Z]+/.exec(message)?.[0] ?? 'an error';
    const cure =
      kind === 'UNREADABLE' || kind === 'WRONGTYPE'
        ? ' The key holds what this library did not write; `reset` of this identity removes it.'
        : '';
    error = new StoreError('store_error', `Redis refused: ${kind}.${cure}`, {
      cause: new Error(message),
    });
    failures.set(message, error);
  }
  return error;
}

/** State in Redis, shared by every process: each decision is made there, by one script, on Redis's own clock. */
export class RedisStore implements Store {
  readonly #redis: string | RedisClient;
  readonly #cluster: boolean;
  readonly #timeoutMs: number;
  #held: Held<Call> | undefined;

  constructor(redis: string | RedisClient, cluster: boolean, timeoutMs: number) {
    this.#redis = redis;
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
  }

  submit(call: Call): void {
    this.#hold().connection.submit(call);
  }

  async ready(probe: () => Promise<void>): Promise<void> {
    await this.#hold().connection.settled(CONNECT_DEADLINES * this.#timeoutMs);
    await probe();
  }

  async close(): Promise<void> {
    await this.#held?.release();
  }

  /** Nothing is opened and no listener is set before the first use. */
  #hold(): Held<Call> {
    this.#held ??=
      typeof this.#redis === 'string'
        ? connectionOfUrl(this.#redis, this.#cluster, this.#timeoutMs, decideBatch)
        : connectionOfClient(this.#redis, decideBatch);
    return this.#held;
  }
}
