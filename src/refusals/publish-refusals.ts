import { randomBytes } from 'node:crypto';
import type { Decision } from '../base/decision.ts';
import type { AnyIdentity } from '../base/identity.ts';
import { clearInterval, monotonicMs, setInterval } from '../base/timers.ts';
import { GivenOptions, readNamespace, readSecret } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';
import { checkClient, makePort } from '../redis/clients/connect.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import type { RedisPort } from '../redis/port.ts';
import { warnOnce } from '../redis/clients/warn-once.ts';
import { callerDigest } from './caller-digest.ts';
import { channelOf } from './message.ts';
import type { PublishedRefusal, RefusalMessage } from './message.ts';
import { RecentCallers } from './recent-callers.ts';

const PUBLISH_MS = 1_000;
/** Messages from one report of callers to the next. */
const REPORT_EVERY = 5;
const MOST_REFUSALS = 20;
const MOST_CALLERS = 50;
/** PUBLISH in a script travels by every client that limiters take, and finds a node of a cluster by its key. */
const SCRIPT = "return redis.call('PUBLISH', KEYS[1], ARGV[1])";

const OPTIONS: OptionSet = {
  of: 'publishRefusals',
  names: ['redis', 'namespace', 'hashSecret'],
  otherNames: {
    client: 'redis',
    keyPrefix: 'namespace',
    prefix: 'namespace',
    secret: 'hashSecret',
  },
};

/** Options of `publishRefusals`. */
export interface PublishRefusalsOptions {
  /** A client that you have, as a limiter takes it. */
  redis: RedisClient;
  /** The `namespace` of your limiters, which names the channel. Default `'rate-limit'`. */
  namespace?: string;
  /** The `hashSecret` of your limiters. Without it, a reader of the channel can try out addresses. */
  hashSecret?: string | Uint8Array | undefined;
}

/** Publishes refusals that it is told of. */
export interface RefusalPublisher {
  /** Tells of one refusal. Pass it to limiters as their `onBlock`. */
  readonly onBlock: (identity: AnyIdentity, decision: Decision) => void;
  /** Publishes what is left, and stops. The client stays open. */
  close(): Promise<void>;
}

/**
 * Publishes refusals on a channel of Redis, for `npx distributed-rate-limiter top` and `tail`. Callers are digests;
 * nothing is stored. At most one message a second per process: up to 20 refusals and the number of those left out, and
 * each 5 s the 50 callers refused most in the last five to ten minutes. Messages are dropped while Redis is away.
 *
 * The user in Redis needs `+publish` and `&<namespace>:refusals` beside the rights of a limiter.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`.
 * @example
 * const refusals = publishRefusals({ redis, namespace: 'api' });
 * const limiter = new RateLimiter({
 *   redis,
 *   namespace: 'api',
 *   rate: 100,
 *   period: '1m',
 *   onBlock: refusals.onBlock,
 * });
 */
export function publishRefusals(options: PublishRefusalsOptions): RefusalPublisher {
  const given = new GivenOptions(OPTIONS, options);
  const redis = given.required('redis', (_option, value) => {
    checkClient(value);
    return value;
  });
  const namespace = given.optional('namespace', readNamespace, 'rate-limit');
  const secret = given.optional('hashSecret', readSecret, undefined);
  given.end();
  return new Publisher(redis, channelOf(namespace), secret);
}

class Publisher implements RefusalPublisher {
  readonly onBlock: (identity: AnyIdentity, decision: Decision) => void;
  readonly #client: RedisClient;
  readonly #channel: string;
  readonly #name = randomBytes(6).toString('hex');
  readonly #recent = new RecentCallers();
  readonly #timer: NodeJS.Timeout;
  readonly #port: RedisPort;
  #refusals: PublishedRefusal[] = [];
  #leftOut = 0;
  #ticks = 0;
  #isClosed = false;
  #sending: Promise<void> | undefined;

  constructor(client: RedisClient, channel: string, secret: string | Uint8Array | undefined) {
    this.#client = client;
    this.#port = makePort(client);
    this.#channel = channel;
    this.onBlock = (identity, decision) => {
      if (!decision.allowed) {
        this.#refused(callerDigest(identity, secret), decision);
      }
    };
    this.#timer = setInterval(() => this.#tick(), PUBLISH_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#sending;
    this.#publish(true);
    await this.#sending;
  }

  #refused(caller: string, decision: Decision): void {
    this.#recent.add(caller, monotonicMs());
    if (this.#refusals.length >= MOST_REFUSALS) {
      this.#leftOut += 1;
      return;
    }
    const { reason, limits } = decision;
    const wait = 'retryAfterMs' in decision ? decision.retryAfterMs : undefined;
    this.#refusals.push({
      at: Date.now(),
      caller,
      reason,
      limitedBy: limits.filter(({ refused, shadow }) => refused && !shadow).map(({ name }) => name),
      ...(wait === undefined || !Number.isFinite(wait) ? {} : { retryAfterMs: wait }),
    });
  }

  #tick(): void {
    const isReport = this.#ticks % REPORT_EVERY === 0;
    this.#ticks += 1;
    if (isReport || this.#refusals.length > 0) {
      this.#publish(isReport);
    }
  }

  #publish(isReport: boolean): void {
    // One message at a time: a slow server gets fewer.
    if (this.#sending !== undefined || this.#port.state !== 'ready') {
      return;
    }
    const message: RefusalMessage = {
      v: 1,
      process: this.#name,
      refusals: this.#refusals,
      leftOut: this.#leftOut,
      ...(isReport ? { recent: this.#report() } : {}),
    };
    this.#refusals = [];
    this.#leftOut = 0;
    this.#sending = this.#send(JSON.stringify(message));
  }

  async #send(message: string): Promise<void> {
    try {
      await this.#port.send('EVAL', [SCRIPT, '1', this.#channel, message], this.#channel);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#sending = undefined;
    }
  }

  #report(): NonNullable<RefusalMessage['recent']> {
    const { total, callers } = this.#recent.report(MOST_CALLERS, monotonicMs());
    return { total, callers: callers.map(({ name, count, error }) => [name, count, error]) };
  }

  /** An outage is told by the limiter; a server that refuses is told here. */
  #failed(error: unknown): void {
    if (this.#port.isReply(error)) {
      warnOnce(
        this.#client,
        'DRL_REFUSALS_NOT_PUBLISHED',
        `Redis refuses to publish refusals on the channel ${this.#channel}: ${(error as Error).message}. Give the user +publish and &${this.#channel}.`,
      );
    }
  }
}
