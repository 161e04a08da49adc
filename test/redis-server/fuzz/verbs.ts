import {
  concurrency,
  fixedWindow,
  RateLimiter,
  slidingWindow,
  slidingWindowLog,
  StoreError,
  tokenBucket,
} from 'distributed-rate-limiter';
import type { Decision, Lease, Limit, Reservation, Settlement } from 'distributed-rate-limiter';
import { openResp, startRedis } from '../../kit/servers/index.mjs';
import { FakeClient, ReplyError } from '../../kit/fakes/fake-client.ts';
import type { Send } from '../../kit/fakes/fake-client.ts';
import type { Random } from '../../kit/random.mjs';
import { Finding, ownError, settlesWithin } from './area.ts';
import type { Area, Fuzzed } from './area.ts';
import { anyRejection, anyReply, isWhole } from './damage.ts';

const TIMEOUT_MS = 25;
/** More units than any of the limits below admits. */
const MOST = 12;

const RATES: readonly ((name: string, shadow: boolean) => Limit)[] = [
  (name, shadow) => tokenBucket({ name, shadow, rate: 3, period: '1h', burst: 5, maxDebt: 4 }),
  (name, shadow) => slidingWindow({ name, shadow, rate: 5, period: '1h' }),
  (name, shadow) => slidingWindowLog({ name, shadow, rate: 5, period: '1h', maxDebt: 2 }),
  (name, shadow) => fixedWindow({ name, shadow, rate: 9, period: 'month', timeZone: 'Asia/Tokyo' }),
];

type Server = Awaited<ReturnType<typeof openResp>>;

/** A real server's replies, damaged on their way or not. */
class DamagedClient extends FakeClient {
  readonly #server: Server;
  readonly #random: Random;
  /** In percent. */
  damage = 0;
  /** The reply to the last operation, as it came, and as the server sent it; undefined if an error came. */
  came: { reply: unknown; right: readonly unknown[] } | undefined;
  shown: unknown[] = [];

  constructor(server: Server, random: Random) {
    super();
    this.#server = server;
    this.#random = random;
  }

  expect(damage: number): void {
    this.damage = damage;
    this.came = undefined;
    this.shown = [];
  }

  /** Where the integers of the right reply end. Pairs follow: the index of an integer, and a receipt. */
  get #end(): number {
    const { right } = this.came!;
    const receipt = right.findIndex((each) => !isWhole(each));
    return receipt < 0 ? right.length : receipt - 1;
  }

  /** Whether the last reply was well-formed: as many whole numbers as the right one, then pairs. */
  get wellFormed(): boolean {
    const { reply } = this.came ?? {};
    if (!Array.isArray(reply) || reply.length < this.#end) return false;
    const end = this.#end;
    const pairs = reply.slice(end);
    return (
      reply.slice(0, end).every(isWhole) &&
      pairs.length % 2 === 0 &&
      pairs.every((each, i) =>
        i % 2 === 1 ? typeof each === 'string' : isWhole(each) && each > 0 && each < end,
      )
    );
  }

  /** Whether the last reply came unchanged. */
  get truthful(): boolean {
    const { reply, right } = this.came ?? {};
    return (
      this.wellFormed &&
      (reply as unknown[]).every((each, i) => String(each) === String(right?.[i]))
    );
  }

  protected async receive({ command, script, keys, args }: Send): Promise<unknown> {
    this.came = undefined;
    if (this.#random.chance(this.damage / 4)) {
      const error = anyRejection(this.#random);
      this.shown.push(error);
      throw error;
    }
    const right: (number | string)[] = await this.#server
      .command(command, script, keys.length, ...keys, ...args)
      .catch((error: Error) => {
        throw new ReplyError(error.message);
      });
    const reply = this.#random.chance(this.damage) ? anyReply(this.#random, right) : right;
    // The raw reply: the library parses numbers from it.
    this.came = { reply: Array.isArray(reply) ? [...reply] : reply, right: [...right] };
    this.shown.push(this.came);
    return reply;
  }
}

type Outcome = Decision | Settlement | boolean | void;

/** Runs operations one after another on one identity, and keeps the results of earlier ones. */
class Caller {
  readonly limiter: RateLimiter;
  readonly #random: Random;
  #decision: Decision | undefined;
  #reservation: Reservation | undefined;
  #lease: Lease | undefined;

  constructor(limiter: RateLimiter, random: Random) {
    this.limiter = limiter;
    this.#random = random;
  }

  readonly #any: Readonly<Record<string, () => Promise<Outcome>>> = {
    peek: () => this.limiter.peek('user'),
    reset: () => this.limiter.reset('user'),
    block: () => this.limiter.block('user', '15m'),
    unblock: () => this.limiter.unblock('user'),
  };
  readonly rates: Readonly<Record<string, () => Promise<Outcome>>> = {
    ...this.#any,
    allow: async () =>
      (this.#decision = await this.limiter.allow('user', { cost: this.#random.int(1, MOST) })),
    allowAgain: async () => (this.#decision = await this.limiter.allow('user')),
    allowUpTo: async () => (this.#decision = await this.limiter.allowUpTo('user', this.#units())),
    penalize: () => this.limiter.penalize('user', this.#units()),
    refund: async () => this.#decision && this.limiter.refund(this.#decision),
    reserve: async () =>
      (this.#reservation = await this.limiter.reserve('user', { cost: 2, ttl: '1m' })),
    settle: async () => this.#reservation?.settle(this.#units()),
    cancel: async () => this.#reservation?.cancel(),
  };
  readonly leases: Readonly<Record<string, () => Promise<Outcome>>> = {
    ...this.#any,
    acquire: async () => (this.#lease = await this.limiter.acquire('user')),
    renew: async () => this.#lease?.renew(),
    release: async () => this.#lease?.release(),
  };

  /** The units of the next operation. */
  units = 1;
  #units(): number {
    this.units = this.#random.int(1, MOST);
    return this.units;
  }
}

/** Every number that the server sent is whole, and within its limit. */
function isSane(decision: Decision): boolean {
  if (decision.degraded || decision.reason === 'impossible') return true;
  const { resetAfterMs, resetAtMs, retryAfterMs: retry = 1, remaining } = decision;
  return (
    [resetAfterMs, resetAtMs, retry, remaining].every(Number.isSafeInteger) &&
    resetAfterMs >= 0 &&
    retry >= 1 &&
    remaining >= 0 &&
    decision.limits.every(
      (each) =>
        [each.remaining, each.resetAfterMs, each.retryAfterMs ?? 1].every(Number.isSafeInteger) &&
        each.remaining >= 0 &&
        each.remaining <= each.limit &&
        each.resetAfterMs >= 0 &&
        (each.retryAfterMs ?? 1) >= 1,
    )
  );
}

/** Wrong numbers may make a decision wrong, but never grant more than the call asked for. */
function check(outcome: Outcome, asked: number, truthful: boolean, input: unknown): void {
  if (typeof outcome !== 'object') return;
  if (!('allowed' in outcome)) {
    const units = [outcome.charged, outcome.uncharged];
    if (truthful && !units.every((it) => Number.isSafeInteger(it) && it >= 0)) {
      throw new Finding('a settlement that is none', input);
    }
    return;
  }
  if (truthful && !isSane(outcome)) throw new Finding('numbers that are none', input);
  const { granted = 0 } = outcome as { granted?: number };
  if (!Number.isSafeInteger(granted) || granted < 0 || granted > asked) {
    throw new Finding('more granted than asked for', input);
  }
}

/**
 * Every verb of every algorithm, under one or several limits: an answer is real if its own numbers came, else it names
 * the failure.
 */
export const verbs: Area = {
  name: 'replies to every verb',
  percent: 5,

  async open(): Promise<Fuzzed> {
    const server = await startRedis();
    const connection = await openResp({ path: server.socketPath });

    return {
      async run(random) {
        await connection.command('FLUSHDB');
        const redis = new DamagedClient(connection, random);
        const lends = random.chance(25);
        const count = random.int(lends ? 0 : 1, 3);
        const rates = Array.from({ length: count }, (_, i) =>
          random.pick(RATES)(`rate-${i}`, i > 0 && random.chance(30)),
        );
        const failStrategy = random.pick(['open', 'closed', 'throw'] as const);
        let errors = 0;
        const limiter = new RateLimiter({
          redis,
          limits: lends ? [concurrency({ name: 'places', max: 3, ttl: '1h' }), ...rates] : rates,
          namespace: 'fuzz',
          blocks: true,
          failStrategy,
          timeoutMs: TIMEOUT_MS,
          onError: () => (errors += 1),
        });
        const caller = new Caller(limiter, random);
        const operations = lends ? caller.leases : caller.rates;
        const asked: string[] = [];
        const steps = random.int(1, 8);
        for (let step = 0; step < steps; step++) {
          const name = random.pick(Object.keys(operations));
          asked.push(name);
          redis.expect(random.pick([0, 0, 40, 100]));
          caller.units = 1;
          errors = 0;
          const input = (): object => ({ failStrategy, asked, came: redis.shown });
          const settled = operations[name]!().then(
            (value): [Outcome, undefined] => [value, undefined],
            (error: unknown): [undefined, unknown] => [undefined, error],
          );
          const [outcome, rejected] = await settlesWithin(TIMEOUT_MS + 500, settled, input);
          const error = rejected === undefined ? undefined : ownError(rejected, input());
          const degraded = typeof outcome === 'object' && 'degraded' in outcome && outcome.degraded;
          const failed = degraded || error instanceof StoreError;
          if (error !== undefined && !failed && error.code !== 'ERR_NOT_REFUNDABLE') {
            throw new Finding(`it rejects: ${error.code}`, input(), error);
          }
          if (redis.shown.length > 0 && failed === redis.wellFormed) {
            throw new Finding(
              failed ? 'a good reply is none' : 'a bad reply is one',
              input(),
              error,
            );
          }
          if (redis.shown.length > 0 && errors !== (failed ? 1 : 0)) {
            throw new Finding(`onError was told ${errors} times`, input());
          }
          check(outcome, caller.units, redis.truthful, { ...input(), outcome });
        }
        await limiter.close();
        return steps;
      },

      async close() {
        connection.close();
        await server.close();
      },
    };
  },
};
