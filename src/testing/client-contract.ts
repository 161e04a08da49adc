import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimiter } from '../limiter/rate-limiter.ts';
import { makePort } from '../redis/clients/connect.ts';
import type { RedisClient } from '../redis/clients/client.ts';
import type { PortState, RedisPort } from '../redis/port.ts';
import { slotOf } from '../redis/connection/slot.ts';
import { casesOf } from './contract.ts';
import type { Checks, ContractCase } from './contract.ts';

/** Faults between a client and its server. `startRelay` provides them. */
export interface Faults {
  /** Ends every connection; new ones are refused until `restore`. */
  lose(): unknown;
  /** Keeps connections open, but passes nothing on, either way, until `restore` or `lose`. */
  stall(): unknown;
  /** Ends all faults. */
  restore(): unknown;
}

/** A client, and a function to end it. */
export interface OpenClient {
  /** The value for the option `redis`. */
  readonly redis: RedisClient;
  /** Ends the client, even if its server cannot be reached. */
  close(): unknown;
}

/** A client library to be tested by `clientContract`. */
export interface ClientUnderTest {
  /** Returns a new client, connected or connecting; it reaches its server through `faults`. */
  open(): OpenClient | Promise<OpenClient>;
  readonly faults: Faults;
  /**
   * The longest that the client may take to notice that its connection is lost, or to be back after `restore`, in
   * milliseconds. Default 10,000.
   */
  readonly patienceMs?: number;
  /**
   * Whether the client notices a lost connection itself, so that calls are answered at once. Default true. If it does
   * not, the contract expects a call that times out instead.
   */
  readonly tellsOfLoss?: boolean;
}

/**
 * Checks a `RedisPort`, or a client that is recognized by its shape. Runs on a real server, single or cluster; all
 * keys begin with `contract-` and expire within minutes.
 *
 * @example
 * import { clientContract, startRelay } from 'distributed-rate-limiter/testing';
 *
 * const relay = await startRelay({ host: '127.0.0.1', port: 6379 });
 * const contract = clientContract({
 *   faults: relay,
 *   open: () => {
 *     const client = createMyClient({ host: relay.host, port: relay.port });
 *     return { redis: portOfMyClient(client), close: () => client.end() };
 *   },
 * });
 * for (const { name, run } of contract) test(name, run);
 */
export function clientContract(subject: ClientUnderTest): readonly ContractCase[] {
  const { faults, patienceMs = 10_000, tellsOfLoss = true } = subject;
  return casesOf(CHECKS, async (check) => {
    await faults.restore();
    const client = await subject.open();
    const port = makePort(client.redis);
    const states: PortState[] = [port.state];
    port.onStateChange(() => states.push(port.state));
    const becomes = async (state: PortState): Promise<void> => {
      const until = performance.now() + patienceMs;
      while (states.at(-1) !== state || port.state !== state) {
        assert.ok(
          performance.now() < until,
          `waited ${patienceMs} ms for the state '${state}', heard ${states.join(', ')}, reads ${port.state}`,
        );
        await sleep(5);
      }
    };
    const link: Link = {
      redis: client.redis,
      port,
      faults,
      tellsOfLoss: tellsOfLoss && port.nodeOf === undefined,
      isLost: async (limiter) => {
        if (link.tellsOfLoss) {
          await becomes('away');
        } else {
          // On a cluster each node has its own connection, whose loss may show only when the node is called.
          while (!(await limiter.allow(newKey())).degraded) await sleep(5);
        }
      },
    };
    try {
      await becomes('ready');
      await check(link);
    } finally {
      await client.close();
      await faults.restore();
    }
  });
}

interface Link {
  readonly redis: RedisClient;
  readonly port: RedisPort;
  readonly faults: Faults;
  readonly tellsOfLoss: boolean;
  /** Resolves when the port's listeners have been called with `away`; without a port, when a call is not answered. */
  isLost(limiter: RateLimiter): Promise<void>;
}

/** The connection's deadline in milliseconds: `timeoutMs`, to which a busy machine may add. */
const TIMEOUT_MS = 250;
const MARGIN_MS = 500;
/** A deadline for cases in which nothing fails: no machine is this slow. */
const PATIENT_TIMEOUT_MS = 20_000;

const COUNT = "redis.call('PEXPIRE', KEYS[1], 60000) return redis.call('INCR', KEYS[1])";
const ECHO = 'return {KEYS[1], ARGV[1], ARGV[2], 7}';

const CHECKS: Checks<Link> = {
  'EVAL runs a script, and EVALSHA the same one by its SHA-1': async ({ port }) => {
    const key = newKey();
    const expected = [key, 'one', '{"two": "\u20ac\\r\\n\u0000"}', 7];
    const args = ['1', key, ...expected.slice(1, 3).map(String)];
    assert.deepEqual(plain(await port.send('EVAL', [ECHO, ...args], key)), expected);
    assert.deepEqual(plain(await port.send('EVALSHA', [sha1(ECHO), ...args], key)), expected);
  },

  'integers from -(2^53 - 64) to 2^53 - 64 arrive exactly': async ({ port }) => {
    // The parsers of ioredis and node-redis round the last few dozen integers before 2^53.
    const integers = [0, -1, 1_767_225_600_000_001, 2 ** 53 - 65, 2 ** 53 - 64, 65 - 2 ** 53];
    const key = newKey();
    const reply = await port.send('EVAL', [`return {${integers.join()}}`, '1', key], key);
    assert.ok(Array.isArray(reply), 'the reply is not an array');
    assert.deepEqual(reply.map(Number), integers);
  },

  'a reply of a thousand integers and texts keeps its order': async ({ port }) => {
    const script =
      "local out = {} for i = 1, 2048 do out[i] = i % 2 == 0 and i or 'OOM ' .. i end return out";
    const key = newKey();
    const reply = await port.send('EVAL', [script, '1', key], key);
    assert.deepEqual(
      plain(reply),
      Array.from({ length: 2_048 }, (_, i) => (i % 2 === 1 ? i + 1 : `OOM ${i + 1}`)),
    );
  },

  'takes 128 keys and three thousand arguments in one call': async ({ port }) => {
    const tag = newKey();
    const keys = Array.from({ length: 128 }, (_, i) => `{${tag}}/${i}`);
    const args = Array.from({ length: 3_000 }, (_, i) => String(i));
    const script = 'return {#KEYS, #ARGV, KEYS[128], ARGV[3000]}';
    const reply = await port.send('EVAL', [script, '128', ...keys, ...args], keys[0]!);
    assert.deepEqual(plain(reply), [128, 3_000, `{${tag}}/127`, '2999']);
  },

  'an unknown script is an answer of the server, NOSCRIPT': async ({ port }) => {
    const error = await refusal(port, 'EVALSHA', sha1(randomUUID()));
    assert.match(error.message, /^NOSCRIPT/);
    assert.equal(port.isReply(error), true);
  },

  'a refusal by the server is an answer that begins with its code': async ({ port }) => {
    for (const code of ['OOM', 'NOPERM', 'BUSY', 'ERR']) {
      await answers(port, code);
    }
  },

  'a refused write on a replica is an answer of the server, READONLY': ({ port }) =>
    answers(port, 'READONLY'),

  'an error of the client itself is not an answer of the server': async ({ port }) => {
    const others = [new Error('NOSCRIPT looks like one'), new TypeError('x'), 'NOSCRIPT', 7];
    for (const error of [...others, undefined, null, {}, Object.create(null)]) {
      assert.equal(port.isReply(error), false);
    }
  },

  'keys of two slots run on a single server, and get the answer CROSSSLOT on a cluster': async ({
    port,
  }) => {
    if (port.nodeOf !== undefined) {
      return; // such a client is only ever given the keys of one slot
    }
    const [one, other] = [newKey(), newKey()];
    const sent = port.send('EVAL', ['return #KEYS', '2', one, other], one);
    const reply = await sent.catch((error: unknown) => error);
    if (reply instanceof Error) {
      assert.match(reply.message, /^CROSSSLOT/);
      assert.equal(port.isReply(reply), true);
    } else {
      assert.equal(Number(reply), 2);
    }
  },

  'sends each call once and resolves it with its own reply': async ({ port }) => {
    const key = newKey();
    const script =
      "redis.call('PEXPIRE', KEYS[1], 60000) return {redis.call('INCR', KEYS[1]), ARGV[1]}";
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, i) => port.send('EVAL', [script, '1', key, `${i}`], key)),
    );
    const [counts, echoes] = [0, 1].map((part) => replies.map((reply) => plain(reply)[part]));
    assert.deepEqual(
      counts?.map(Number).toSorted((a, b) => a - b),
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
    assert.deepEqual(
      echoes,
      Array.from({ length: 200 }, (_, i) => `${i}`),
    );
  },

  'the server runs calls in the order in which they were sent': async ({ port }) => {
    const key = newKey();
    const replies = await Promise.all(
      Array.from({ length: 200 }, () => port.send('EVAL', [COUNT, '1', key], key)),
    );
    assert.deepEqual(
      replies.map(Number),
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
  },

  'reaches the node of every slot, and names the node on a cluster': async ({ port }) => {
    const keys = Array.from({ length: 64 }, () => newKey());
    const replies = await Promise.all(keys.map((key) => port.send('EVAL', [COUNT, '1', key], key)));
    assert.deepEqual(
      replies.map(Number),
      keys.map(() => 1),
    );
    for (let slot = 0; port.nodeOf !== undefined && slot < 16_384; slot++) {
      assert.equal(typeof port.nodeOf(slot), 'string', `slot ${slot} has no node`);
    }
  },

  'the decisions of one turn are one call, or one per slot on a cluster': async ({ port }) => {
    const counted = new CountedPort(port);
    const limiter = limiterOn(counted);
    await limiter.ready();
    counted.sends = 0;
    const identities = Array.from({ length: 100 }, (_, i) => `user:${i}`);
    const decisions = await Promise.all(identities.map((identity) => limiter.allow(identity)));
    assert.deepEqual(
      decisions.map(({ degraded, remaining }) => ({ degraded, remaining })),
      identities.map(() => ({ degraded: false, remaining: 1 })),
    );
    const slots = new Set(counted.keys.map((key) => slotOf(key)));
    // The endpoint of a cluster, given as a plain URL, is called once before it is known to be a cluster.
    const most = port.nodeOf === undefined ? 1 : slots.size;
    assert.ok(
      counted.sends <= Math.max(most, counted.crossSlot ? slots.size + 1 : 0),
      `${counted.sends} calls for ${slots.size} slots`,
    );
    assert.ok(counted.sends >= 1);
  },

  'a limit admits exactly its burst through the client': async ({ redis }) => {
    const limiter = limiterOn(redis);
    const decisions = await Promise.all(
      Array.from({ length: 50 }, (_, i) => limiter.allow(`user:${i % 10}`)),
    );
    assert.deepEqual(
      decisions.map(({ allowed, degraded }) => [allowed, degraded]),
      Array.from({ length: 50 }, (_, i) => [i < 20, false]),
    );
  },

  'reports away when the connection is lost, and ready when it is back': async (link) => {
    const limiter = limiterOn(link.redis, TIMEOUT_MS);
    await limiter.ready();
    await link.faults.lose();
    await link.isLost(limiter);
    const { decision, inTime } = await timed(limiter);
    assert.equal(decision.degraded, true);
    if (link.tellsOfLoss) {
      assert.equal(decision.reason, 'store_away');
      inTime(MARGIN_MS);
    }
    await link.faults.restore();
    await realAgain(limiter);
    assert.equal(link.port.state, 'ready');
  },

  'a send under way when the connection is lost settles': async (link) => {
    const limiter = limiterOn(link.redis, TIMEOUT_MS);
    const key = newKey();
    await limiter.ready();
    await link.port.send('EVAL', [COUNT, '1', key], key);
    await link.faults.stall();
    const sent = link.port.send('EVAL', [COUNT, '1', key], key);
    const outcome = sent.then(
      () => 'a reply',
      (error: unknown) => (link.port.isReply(error) ? 'an answer' : 'a rejection'),
    );
    await link.faults.lose();
    await link.isLost(limiter);
    await link.faults.restore();
    await realAgain(limiter);
    // A client that resends it after connecting may get its reply.
    const settled = await Promise.race([outcome, sleep(2_000, 'nothing', { ref: false })]);
    assert.ok(['a reply', 'a rejection'].includes(settled), `it was settled with ${settled}`);
  },

  'every decision meets its deadline while the server is silent, and is real when it answers again':
    async (link) => {
      const limiter = limiterOn(link.redis, TIMEOUT_MS);
      await limiter.ready();
      await link.faults.stall();
      const first = await timed(limiter);
      assert.equal(first.decision.reason, 'store_timeout');
      first.inTime(TIMEOUT_MS + MARGIN_MS);
      const next = await timed(limiter);
      assert.equal(next.decision.degraded, true);
      next.inTime(TIMEOUT_MS + MARGIN_MS);
      await link.faults.restore();
      await realAgain(limiter);
    },

  'every decision meets its deadline when the server goes away during the call': async (link) => {
    const limiter = limiterOn(link.redis, TIMEOUT_MS);
    await limiter.ready();
    await link.faults.stall();
    const pending = Promise.all(Array.from({ length: 20 }, () => timed(limiter)));
    await sleep(20);
    await link.faults.lose();
    for (const { decision, inTime } of await pending) {
      assert.equal(decision.degraded, true);
      inTime(TIMEOUT_MS + MARGIN_MS);
    }
    await link.faults.restore();
    await realAgain(limiter);
  },
};

/** A port that counts what the contract needs to know. */
class CountedPort implements RedisPort {
  /** Counts first attempts only: a node that does not know the script is sent its text as well. */
  sends = 0;
  crossSlot = false;
  readonly keys: string[] = [];
  readonly nodeOf?: (slot: number) => string | undefined;
  readonly #port: RedisPort;

  constructor(port: RedisPort) {
    this.#port = port;
    if (port.nodeOf !== undefined) {
      this.nodeOf = (slot) => port.nodeOf?.(slot);
    }
  }

  get state(): PortState {
    return this.#port.state;
  }

  onStateChange(listener: () => void): void {
    this.#port.onStateChange(listener);
  }

  async send(command: 'EVALSHA' | 'EVAL', args: readonly string[], key: string): Promise<unknown> {
    if (command === 'EVALSHA') {
      this.sends += 1;
      this.keys.push(...args.slice(2, 2 + Number(args[1])));
    }
    try {
      return await this.#port.send(command, args, key);
    } catch (error) {
      this.crossSlot ||= error instanceof Error && error.message.startsWith('CROSSSLOT');
      throw error;
    }
  }

  isReply(error: unknown): boolean {
    return this.#port.isReply(error);
  }
}

/** Its burst of two applies to one identity, for the whole case. */
function limiterOn(redis: RedisClient, timeoutMs = PATIENT_TIMEOUT_MS): RateLimiter {
  return new RateLimiter({ redis, namespace: newKey(), rate: 2, period: '10m', timeoutMs });
}

/** How often to check that this process gets to run, in milliseconds. */
const TICK_MS = 10;

/** Makes a decision, and checks its time, unless this process was kept from running meanwhile. */
async function timed(limiter: RateLimiter): Promise<{
  decision: Awaited<ReturnType<RateLimiter['allow']>>;
  readonly inTime: (mostMs: number) => void;
}> {
  const start = performance.now();
  let last = start;
  let keptMs = 0;
  const tick = (): void => {
    const now = performance.now();
    keptMs += Math.max(0, now - last - 2 * TICK_MS);
    last = now;
  };
  const ticking = setInterval(tick, TICK_MS);
  const decision = await limiter.allow('user');
  tick();
  clearInterval(ticking);
  const tookMs = Math.round(performance.now() - start);
  return {
    decision,
    inTime: (mostMs) => {
      assert.ok(
        tookMs - keptMs < mostMs,
        `answered after ${tookMs} ms, of which this process worked ${Math.round(tookMs - keptMs)} ms`,
      );
    },
  };
}

async function realAgain(limiter: RateLimiter): Promise<void> {
  const until = performance.now() + 10_000;
  for (let i = 0; ; i++) {
    const decision = await limiter.allow(`afterwards:${i}`);
    if (!decision.degraded) return;
    if (performance.now() >= until) {
      throw new Error('no real decision within 10 s of the end of the fault', {
        cause: decision.error,
      });
    }
    await sleep(20);
  }
}

async function answers(port: RedisPort, code: string): Promise<void> {
  const error = await refusal(port, 'EVAL', `return redis.error_reply('${code} as it says')`);
  assert.ok(error.message.startsWith(`${code} `), error.message);
  assert.equal(port.isReply(error), true, code);
}

async function refusal(
  port: RedisPort,
  command: 'EVALSHA' | 'EVAL',
  script: string,
): Promise<Error> {
  const key = newKey();
  const reply = await port.send(command, [script, '1', key], key).catch((error: unknown) => error);
  return reply instanceof Error ? reply : assert.fail('it did not reject with an Error');
}

/** Converts integers and texts from any form in which the client returns them. */
function plain(reply: unknown): unknown[] {
  assert.ok(Array.isArray(reply), 'the reply is not an array');
  return reply.map((value: unknown) =>
    typeof value === 'number' || typeof value === 'bigint' ? Number(value) : String(value),
  );
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function newKey(): string {
  return `contract-${randomUUID()}`;
}
