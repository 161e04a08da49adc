import type { ServerResponse } from 'node:http';
import express from 'express';
import Koa from 'koa';
import type { RateLimiter } from 'distributed-rate-limiter';
import { rateLimit as limitExpress } from 'distributed-rate-limiter/express';
import type { GuardOptions } from 'distributed-rate-limiter/http';
import { rateLimit as limitKoa } from 'distributed-rate-limiter/koa';
import { rateLimit as limitNode } from 'distributed-rate-limiter/node-http';
import type { Random } from '../../kit/random.mjs';
import { anyText } from './values.ts';

/** Requests and responses of HTTP/1 and HTTP/2, which are alike in everything used here. */
export type Route = (request: never, response: never) => unknown;

/** Stages of a request on the server; a client may wait for each of them. */
export const STAGES = ['identified', 'handled', 'begun', 'ended'] as const;
export type Stage = (typeof STAGES)[number];

/** The last bytes of a complete response body. */
export const END_MARK = '~';

const HANDLERS = ['ends', 'pieces', 'large', 'hangs', 'destroys', 'throws'] as const;

const LARGE = 'x'.repeat(1_000_000);

const FIELDS: readonly ((random: Random) => unknown)[] = [
  (random) => ({ 'X-Own': anyText(random, 12) }),
  (random) => ({ [anyText(random, 8)]: 'x' }),
  () => ({ 'X-Own': 7, 'X-Other': undefined }),
  () => ({ 'X-Own': 'a\r\nb' }),
  () => ({ 'Content-Length': 3 }),
  () => Promise.reject(new Error('no')),
  () => null,
  () => {
    throw new Error('no');
  },
];

/** Lets the event loop turn, so that sockets are read. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

/** One request as its server sees it: its guard, its handler, and its progress. */
export class Life {
  readonly count: 'all' | 'failures' | 'successes';
  /** The random choices for this request. */
  readonly plan;
  /** Events so far, to print on failure. */
  readonly progress: string[] = [];
  /** The guard's verdict; undefined before it. */
  allowed: boolean | undefined;
  /** Whether writing a header field failed. */
  unwritable = false;
  /** The status with which the application ended the response; undefined before that. */
  ended: number | undefined;
  /** Whether the handler was called after the response was over. */
  handledTooLate = false;
  readonly #random: Random;
  readonly #running: unknown[] = [];
  readonly #waiting = new Map<Stage | 'closed', () => void>();
  readonly #stages = new Map<Stage | 'closed', Promise<void>>();
  #response: ServerResponse | undefined;

  constructor(random: Random, version: 1 | 2) {
    this.#random = random;
    this.count = random.pick(['all', 'failures', 'successes']);
    this.plan = {
      version,
      count: this.count,
      adapter: version === 1 ? random.pick(['node', 'express', 'koa']) : 'node',
      decidesIn: random.int(0, 4),
      meanwhile: random.pick(['nothing', 'nothing', 'nothing', 'answers', 'streams']),
      fields: random.chance(40) ? random.int(0, FIELDS.length - 1) : undefined,
      replacement: random.chance(40) ? random.int(0, FIELDS.length - 1) : undefined,
      unwritable: random.chance(8),
      handler: random.pick(HANDLERS),
      status: random.pick([200, 204, 302, 401, 404, 500]),
      pauses: random.int(0, 3),
    };
    for (const stage of [...STAGES, 'closed'] as const) {
      this.#stages.set(stage, new Promise((resolve) => this.#waiting.set(stage, resolve)));
    }
  }

  /** Resolves at this stage, or when the response has closed before. */
  async reached(stage: Stage): Promise<void> {
    await Promise.race([this.#stages.get(stage), this.#stages.get('closed')]);
  }

  /**
   * Resolves when the response has closed and nothing of the application runs any more. If a client resets a stream
   * without an error while data is pending, Node never closes the stream; the guard has to notice that.
   */
  async over(): Promise<void> {
    const { stream } = this.#response as { stream?: { readonly closed: boolean } };
    let stuck = 0;
    while (!this.progress.includes('closed') && stuck < 20) {
      await turns(1);
      if (stream?.closed === true) stuck += 1;
    }
    while (this.#running.length > 0) await this.#running.shift();
  }

  route(limiter: RateLimiter): Route {
    const options: GuardOptions<unknown> = {
      count: this.count,
      identify: async () => {
        this.#at('identified');
        this.#meanwhile();
        await turns(this.plan.decidesIn);
        return 'all';
      },
      headers: ({ decision }) => {
        this.allowed = decision.allowed;
        return this.#fields(this.plan.unwritable ? undefined : this.plan.fields) as never;
      },
      onRefused: () =>
        this.plan.replacement === undefined
          ? undefined
          : { status: 420, headers: this.#fields(this.plan.replacement) as never },
    };
    const serve = this.#adapter(limiter, options);
    return (request, response: ServerResponse) => {
      this.#response = response;
      response.once('close', () => this.#at('closed'));
      response.on('error', () => {});
      if (this.plan.unwritable) this.#spoil(response);
      return serve(request, response as never);
    };
  }

  #adapter(limiter: RateLimiter, options: GuardOptions<unknown>): Route {
    switch (this.plan.adapter) {
      case 'express': {
        const app = express().set('env', 'test');
        const limit = limitExpress(limiter, options as GuardOptions<never>);
        app.use((request, response, next) => {
          this.#running.push(limit(request as never, response, next));
        });
        app.use(async () => this.#run(() => this.#handle()));
        return app;
      }
      case 'koa': {
        const app = new Koa();
        app.silent = true;
        app.use(limitKoa(limiter, options as GuardOptions<never>));
        app.use(async (ctx) => {
          ctx.respond = false;
          await this.#handle().catch((error: unknown) => {
            ctx.respond = true;
            throw error;
          });
        });
        const listener = app.callback();
        return (request, response) => void this.#running.push(listener(request, response));
      }
      default: {
        const limited = limitNode(
          limiter,
          options as GuardOptions<never>,
        )(() =>
          this.#handle().catch(() => {
            this.#response!.writeHead(500).end(END_MARK);
          }),
        );
        return (request, response) => void this.#running.push(limited(request, response));
      }
    }
  }

  /** A response failure must not come from the test's own application: it never writes a head twice. */
  async #handle(): Promise<void> {
    const response = this.#response!;
    this.handledTooLate = response.writableEnded;
    this.#at('handled');
    const { handler, pauses, status } = this.plan;
    await turns(pauses);
    if (response.headersSent || response.destroyed) return;
    if (handler === 'throws') {
      this.#end(500);
      throw new Error('broken');
    }
    if (handler === 'hangs') return;
    response.statusCode = status;
    if (handler === 'ends' || status === 204) {
      this.#end(status);
      response.end(status === 204 ? undefined : END_MARK);
      return;
    }
    response.write('piece');
    this.#at('begun');
    if (handler === 'destroys') {
      response.destroy();
      return;
    }
    const pieces = handler === 'pieces' ? pauses : 0;
    for (let i = 0; i < pieces; i++) {
      await turns(1);
      response.write('piece');
    }
    this.#end(status);
    response.end((handler === 'large' ? LARGE : '') + END_MARK);
  }

  #end(status: number): void {
    this.ended ??= status;
    this.#at('ended');
  }

  /** Another part of the application, such as a timeout, writes the response while the guard decides. */
  #meanwhile(): void {
    const response = this.#response!;
    const { meanwhile, pauses } = this.plan;
    if (meanwhile === 'nothing' || response.destroyed) return;
    response.statusCode = 503;
    if (meanwhile === 'streams') {
      response.write('piece');
      this.#at('begun');
    }
    void this.#run(async () => {
      await turns(meanwhile === 'streams' ? pauses : 0);
      this.#end(503);
      response.end(END_MARK);
    });
  }

  #run(work: () => Promise<void>): Promise<void> {
    const running = work();
    this.#running.push(running.catch(() => {}));
    return running;
  }

  #fields(kind: number | undefined): unknown {
    return kind === undefined ? { 'X-Own': 'x' } : FIELDS[kind]!(this.#random);
  }

  #spoil(response: ServerResponse): void {
    const setHeader = response.setHeader.bind(response) as (...given: unknown[]) => never;
    response.setHeader = (name, value) => {
      if (name === 'X-Own') {
        this.unwritable = true;
        throw new Error('not writable');
      }
      return setHeader(name, value);
    };
  }

  #at(stage: Stage | 'closed'): void {
    this.progress.push(stage);
    this.#waiting.get(stage)!();
  }
}
