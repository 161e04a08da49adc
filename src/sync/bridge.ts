import { existsSync } from 'node:fs';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { RateLimiterError, StoreError } from '../base/errors.ts';
import { openingMs } from '../base/opening.ts';
import { monotonicMs } from '../base/timers.ts';
import { ENDED, SENT, unpack } from './exchange.ts';
import type { Answer, Asked, Question, Start } from './exchange.ts';
import type { PlainOptions } from './options.ts';

/** A thread starts in a tenth of this time on a busy machine. If it does not, the next attempt waits just as long. */
const LONGEST_START_MS = 10_000;
/** The longest that the other thread loads the client library before its first answer, in addition to connecting. */
const LONGEST_LOAD_MS = 10_000;
/**
 * The thread's first code, which loads its file. It needs no file itself, so it can report a file that is missing or
 * cannot run: this thread is blocked meanwhile, and receives no events. Runs as CommonJS and as ESM.
 */
const LOADER = `import('node:worker_threads').then(async ({ workerData }) => {
  const { file, port, signal } = workerData;
  const wake = () => {
    Atomics.add(signal, ${SENT}, 1);
    Atomics.notify(signal, ${SENT});
  };
  process.once('exit', () => {
    Atomics.store(signal, ${ENDED}, 1);
    wake();
  });
  try {
    (await import(file)).start(workerData);
  } catch (error) {
    const { name, message, stack, code } = Object(error);
    port.postMessage({ id: 0, reported: [], error: { packed: true, name, message: message ?? String(error), stack, code } });
    wake();
    throw error;
  }
});`;
/** How late after its deadline, which the other thread keeps, an answer may come. */
const GRACE_MS = 1_000;
/** Waits in pieces, so that a process that was stopped for a while has waited only one piece. */
const PIECE_MS = 100;

/**
 * A worker thread with a limiter, and questions to it that block until they are answered. Written here rather than
 * imported, because it is short and the package has no dependencies.
 */
export class Bridge {
  readonly #signal = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #madeAt = monotonicMs();
  #started = false;
  /** The reason why the thread could not start, if it reported one. */
  #failure: unknown;
  /** Whether this thread ended the other one for not answering in time, which need not be a fault of it. */
  #gaveUp = false;
  #answered = false;
  #lastId = 0;

  /** The thread keeps no process alive. */
  constructor(options: PlainOptions) {
    const file = workerFile();
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const start: Start = { file: file.href, port: port2, signal: this.#signal, options };
    try {
      this.#worker = new Worker(LOADER, { eval: true, workerData: start, transferList: [port2] });
    } catch (cause) {
      throw cannotStart(cause);
    }
    this.#worker.on('error', (error) => {
      this.#failure ??= error;
      this.#end();
    });
    this.#worker.on('exit', () => this.#end());
    this.#worker.unref();
    this.#port.unref();
  }

  /** Whether the thread has ended, so that no answer can come. */
  get ended(): boolean {
    return Atomics.load(this.#signal, ENDED) === 1;
  }

  /** Whether it is time to start another thread. */
  get replaceable(): boolean {
    return this.ended && (this.#started || monotonicMs() - this.#madeAt > 2 * LONGEST_START_MS);
  }

  /**
   * Blocks until there is an answer.
   *
   * @throws {RateLimiterError} `ERR_WORKER_MISSING` if the thread cannot start.
   * @throws {StoreError} if no answer comes. The thread is then ended.
   */
  ask(question: Question, timeoutMs: number): Answer {
    const id = (this.#lastId += 1);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- it is no window
    this.#port.postMessage({ ...question, id } satisfies Asked);
    this.#started ||= this.#starts();
    const openingTimeMs = this.#answered ? 0 : LONGEST_LOAD_MS + openingMs(timeoutMs);
    const answer = this.#started
      ? this.#receive(id, openingTimeMs + timeoutMs + GRACE_MS)
      : undefined;
    if (answer === undefined) {
      const { ended } = this;
      if (ended && !this.#started && !this.#gaveUp) {
        throw cannotStart(this.#failure);
      }
      this.#gaveUp = true;
      this.end();
      throw ended
        ? new StoreError('store_away', 'The thread that asks the store has ended')
        : new StoreError('store_timeout', 'The thread that asks the store gives no answer');
    }
    this.#answered = true;
    return answer;
  }

  end(): void {
    this.#end();
    void this.#worker.terminate();
  }

  #end(): void {
    Atomics.store(this.#signal, ENDED, 1);
  }

  /** Blocks until the thread has started, or has failed. */
  #starts(): boolean {
    const hello = this.#receive(0, LONGEST_START_MS);
    if (hello?.error !== undefined) {
      this.#failure = hello.error;
      this.#end();
    }
    return hello !== undefined && hello.error === undefined;
  }

  #receive(id: number, boundMs: number): Answer | undefined {
    for (let waitedMs = 0; ;) {
      // Both are read before the received messages, so that later changes appear in the messages.
      const { ended } = this;
      const sent = Atomics.load(this.#signal, SENT);
      const answer = this.#take(id);
      if (answer !== undefined || ended || waitedMs >= boundMs) {
        return answer;
      }
      if (Atomics.wait(this.#signal, SENT, sent, PIECE_MS) === 'timed-out') {
        waitedMs += PIECE_MS;
      }
    }
  }

  #take(id: number): Answer | undefined {
    for (;;) {
      const received: { message: Answer } | undefined = receiveMessageOnPort(this.#port);
      if (received === undefined || received.message.id === id) {
        return received && unpack(received.message);
      }
    }
  }
}

function workerFile(): URL {
  try {
    // @ts-ignore -- TypeScript refuses it in CommonJS, where scripts/build.mjs replaces it
    const file = new URL('./limiter-thread.js', import.meta.url);
    if (existsSync(file)) {
      return file;
    }
  } catch {
    // A CommonJS bundle has no `import.meta`.
  }
  throw new RateLimiterError(
    'ERR_WORKER_MISSING',
    `The worker file of \`distributed-rate-limiter/sync\` is not beside it. ${CURE}`,
  );
}

const CURE = 'Leave the package out of the bundle, as an external.';
const IN_A_BUNDLE = 'In a bundle, leave the package out, as an external.';

/** A mistake of the application, not an outage: thrown under every failure strategy. */
function cannotStart(cause: unknown): RateLimiterError {
  return cause === undefined
    ? new RateLimiterError(
        'ERR_WORKER_MISSING',
        `The worker thread of \`distributed-rate-limiter/sync\` ended before it was there. ${IN_A_BUNDLE}`,
      )
    : new RateLimiterError(
        'ERR_WORKER_MISSING',
        `The worker thread of \`distributed-rate-limiter/sync\` cannot start: \`cause\` says why. ${IN_A_BUNDLE}`,
        { cause },
      );
}
