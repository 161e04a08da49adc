import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { checkStreams } from '../../../src/http/gone-streams.ts';
import type { Random } from '../../kit/random.mjs';
import { Finding } from './area.ts';
import type { Area } from './area.ts';
import { ask } from './request-client.ts';
import type { Asked } from './request-client.ts';
import { Life } from './request-server.ts';
import type { Route } from './request-server.ts';

/** Only a hang takes this long, even on a busy machine. A lease lasts far longer. */
const PATIENCE_MS = 20_000;

/** Events that the process must never emit: an unhandled error, or a warning of leaked listeners. */
class Complaints {
  readonly said: string[] = [];
  readonly #emitWarning = process.emitWarning;
  readonly #note = (error: unknown): void => {
    this.said.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  };

  open(): void {
    process.on('unhandledRejection', this.#note).on('uncaughtException', this.#note);
    process.emitWarning = (warning: string | Error, ...more: unknown[]) => {
      const text = `${String(warning)} ${JSON.stringify(more)}`;
      if (!text.includes('RateLimiterWarning') && !text.includes('UnsupportedWarning')) {
        this.said.push(text);
      }
    };
  }

  close(): void {
    process.off('unhandledRejection', this.#note).off('uncaughtException', this.#note);
    process.emitWarning = this.#emitWarning;
  }
}

/** Names a hanging request by its plan. */
async function inTime<T>(life: Life, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const { plan, allowed, ended, progress } = life;
      reject(new Finding('a request never ends', { plan, allowed, ended, progress }));
    }, PATIENCE_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** The possible final cost of a request in units, from what its client saw and how far its handler got. */
function chargesOf({ life, seen }: { life: Life; seen: Asked }): readonly number[] {
  if (life.allowed !== true) {
    return [0];
  }
  const byStatus = (status: number): number =>
    life.count === 'all' || status >= 400 === (life.count === 'failures') ? 1 : 0;
  if (life.unwritable) {
    return [1];
  }
  if (seen.status !== undefined && seen.complete) {
    return [byStatus(seen.status)];
  }
  // An aborted request is charged, unless its whole response may already have been sent.
  return life.ended === undefined ? [1] : [1, byStatus(life.ended)];
}

/**
 * Requests end in many ways between the guard's verdict and the end of their response, over real sockets. The process
 * emits no error, no place stays held, aborted requests are charged, and the others are charged by their status.
 */
export const requestLives: Area = {
  name: 'lives of requests',
  percent: 1,

  async open() {
    const routes = new Map<string, Route>();
    const route = (request: { url?: string | undefined }, response: never): void => {
      routes.get(request.url!)!(request as never, response);
    };
    const complaints = new Complaints();
    const one = http.createServer((request, response) => route(request, response as never));
    const two = http2.createServer((request, response) => route(request, response as never));
    const sessions = new Set<http2.ServerHttp2Session>();
    two.on('sessionError', () => {});
    two.on('session', (session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    for (const server of [one, two]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    const ports = [one, two].map((server) => (server.address() as AddressInfo).port);
    complaints.open();
    let paths = 0;

    return {
      async run(random: Random) {
        const max = random.pick([1, 3, 9]);
        const rate = random.pick([2, 50]);
        const rates = tokenBucket({ name: 'rate', rate, period: '1h' });
        const limiter = new RateLimiter({
          store: new MemoryStore({ clock: new ManualClock() }),
          limits: random.chance(60)
            ? [concurrency({ name: 'places', max, ttl: '1h' }), rates]
            : [rates],
        });
        const lives = await Promise.all(
          Array.from({ length: random.int(1, 5) }, async () => {
            const path = `/${(paths += 1)}`;
            const life = new Life(random, random.pick([1, 2]));
            routes.set(path, life.route(limiter));
            const seen = await inTime(life, ask(ports[life.plan.version - 1]!, path, life, random));
            await inTime(life, life.over());
            routes.delete(path);
            return { life, seen };
          }),
        );
        const input = {
          limits: limiter.limits.map(({ name, capacity }) => [name, capacity]),
          lives: lives.map(({ life: { plan, allowed, ended, progress }, seen }) => {
            return { plan, allowed, ended, progress: progress.join(), seen };
          }),
        };

        const expected = lives.map(chargesOf);
        const least = expected.reduce((sum, each) => sum + Math.min(...each), 0);
        const most = expected.reduce((sum, each) => sum + Math.max(...each), 0);
        const began = performance.now();
        for (;;) {
          const { limits } = (await limiter.peek('all')) as {
            limits: readonly { name: string; remaining: number }[];
          };
          const left = new Map(limits.map(({ name, remaining }) => [name, remaining]));
          const held = max - (left.get('places') ?? max);
          const charged = rate - left.get('rate')!;
          if (held === 0 && charged >= least && charged <= most) break;
          if (performance.now() - began > PATIENCE_MS) {
            throw new Finding(`${held} held, ${charged} charged, not ${least} to ${most}`, input);
          }
          checkStreams();
          await new Promise(setImmediate);
        }
        if (lives.some(({ life }) => life.handledTooLate)) {
          throw new Finding('a handler was called after the response', input);
        }
        if (complaints.said.length > 0) {
          throw new Finding(`the process says: ${complaints.said.splice(0).join('\n')}`, input);
        }
        for (const session of sessions) session.destroy();
        return lives.length;
      },

      async close() {
        complaints.close();
        one.closeAllConnections();
        for (const session of sessions) session.destroy();
        for (const server of [one, two]) await new Promise((resolve) => server.close(resolve));
      },
    };
  },
};
