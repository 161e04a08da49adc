// @ts-check
/**
 * What is tested of Bun's own `RedisClient`. `bun-client.program.mjs` runs the cases in Bun, on the packed package;
 * `bun-client.test.ts` reads only their names, in Node.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {import('distributed-rate-limiter').RateLimiter} RateLimiter
 * @typedef {import('distributed-rate-limiter/testing').Relay} Relay
 * @typedef {import('distributed-rate-limiter/testing').ContractCase} ContractCase
 *
 * @typedef {object} BunClient
 * @property {boolean} connected
 * @property {number} bufferedAmount
 * @property {() => Promise<unknown>} connect
 * @property {() => void} close
 * @property {(sha1: string, ...args: never[]) => Promise<unknown>} evalsha
 * @property {(command: string, args: string[]) => Promise<unknown>} send
 *
 * @typedef {new (url: string, options?: object) => BunClient} BunClientClass
 *
 * @typedef {object} Parts
 * @property {typeof import('distributed-rate-limiter')} core
 * @property {typeof import('distributed-rate-limiter/testing')} testing
 * @property {BunClientClass} RedisClient
 * @property {Relay} relay in front of the server
 * @property {string} url of the server
 * @property {number} pid of the server
 * @property {object} settings as recommended
 */

/** No case of the store's contract is about a deadline. */
const UNREACHED_MS = 10_000;

/** @param {Parts} parts @returns {readonly ContractCase[]} */
export function casesOf({ core, testing, RedisClient, relay, url, pid, settings }) {
  const through = (options = {}) => new RedisClient(`redis://127.0.0.1:${relay.port}`, options);

  /** @type {BunClient | undefined} */
  let shared;
  const store = testing.storeContract({
    makeLimiter: (options) =>
      new core.RateLimiter({
        ...options,
        redis: (shared ??= new RedisClient(url)),
        timeoutMs: UNREACHED_MS,
      }),
    advance: (ms) => sleep(ms + 1),
  });

  const openings = [
    { how: 'not connected yet', isConnected: false, options: {} },
    { how: 'connected', isConnected: true, options: {} },
    { how: 'with the recommended settings', isConnected: true, options: settings },
    { how: 'without its pipelines', isConnected: true, options: { enableAutoPipelining: false } },
  ];
  const contracts = openings.flatMap(({ how, isConnected, options }) =>
    testing
      .clientContract({
        faults: relay,
        tellsOfLoss: false,
        open: async () => {
          const client = through(options);
          if (isConnected) await client.connect();
          return { redis: client, close: () => client.close() };
        },
      })
      .map(({ name, run }) => ({ name: `a client ${how}: ${name}`, run })),
  );

  /** @param {BunClient} client */
  const limiterOn = (client) =>
    new core.RateLimiter({
      redis: client,
      namespace: `bun-${randomUUID()}`,
      rate: 1_000,
      period: '1h',
      failStrategy: 'throw',
      onError() {},
    });
  /** @param {readonly Promise<unknown>[]} calls @returns {Promise<string[]>} codes of errors, or `decided` */
  const settled = async (calls) => {
    const results = await Promise.allSettled(calls);
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'decided' : String(result.reason.code ?? result.reason),
    );
    return [...new Set(codes)].sort();
  };
  /** @param {RateLimiter} limiter @param {string} [user] */
  const fifty = (limiter, user = 'user') =>
    settled(Array.from({ length: 50 }, () => limiter.allow(user)));
  /** @param {RateLimiter} limiter */
  const decided = async (limiter) => {
    while ((await fifty(limiter, 'anybody'))[0] !== 'decided') await sleep(20);
  };
  /** @param {string[]} codes */
  const areStoreErrors = (codes) =>
    assert.ok(
      codes.every((code) => /^ERR_STORE_(?:AWAY|TIMEOUT)$/.test(code)),
      codes.join(),
    );
  /** @param {BunClient} client @param {RateLimiter} limiter */
  const charged = async (client, limiter) => {
    await decided(limiter);
    return 1_000 - Number((await limiter.peek('user')).remaining);
  };

  /** @type {Record<string, (open: (options?: object) => BunClient) => Promise<void>>} */
  const own = {
    'calls made while the server hangs (SIGSTOP) are refused, and later ones are decided': async (
      open,
    ) => {
      const limiter = limiterOn(open());
      await limiter.ready();
      process.kill(pid, 'SIGSTOP');
      assert.deepEqual(await fifty(limiter), ['ERR_STORE_TIMEOUT']);
      assert.deepEqual(await fifty(limiter), ['ERR_STORE_TIMEOUT']);
      process.kill(pid, 'SIGCONT');
      await decided(limiter);
    },
    'a call whose reply was lost is refused, and charged once': async (open) => {
      const client = open();
      const limiter = limiterOn(client);
      await limiter.ready();
      process.kill(pid, 'SIGSTOP');
      const underWay = settled([limiter.allow('user')]);
      await sleep(50); // the server has received it, and will run it
      await relay.lose();
      areStoreErrors(await underWay);
      process.kill(pid, 'SIGCONT');
      await relay.restore();
      assert.equal(await charged(client, limiter), 1);
      await sleep(400);
      assert.equal(await charged(client, limiter), 1);
    },
    'calls made while there is no connection are refused, and never sent later': async (open) => {
      const client = open();
      const limiter = limiterOn(client);
      await limiter.ready();
      await relay.lose();
      while ((await fifty(limiter, 'anybody'))[0] === 'decided') await sleep(5);
      for (let i = 0; i < 5; i++) areStoreErrors(await fifty(limiter));
      await relay.restore();
      assert.equal(await charged(client, limiter), 0);
    },
    'calls under way when the client is closed are refused, and later ones connect it again':
      async (open) => {
        const client = open();
        const limiter = limiterOn(client);
        await limiter.ready();
        await relay.stall();
        const underWay = fifty(limiter);
        await sleep(20);
        client.close();
        areStoreErrors(await underWay);
        await relay.restore();
        await decided(limiter);
      },
    'a client that has given up is connected again by the next call': async (open) => {
      const client = open({ maxRetries: 2 });
      const limiter = limiterOn(client);
      await limiter.ready();
      await relay.lose();
      // A queue that is ended says so.
      const gaveUp = client.send('PING', []).catch((/** @type {unknown} */ error) => error);
      assert.match(String(await gaveUp), /Connection (?:closed|has failed)|Max reconnection/);
      areStoreErrors(await fifty(limiter));
      await relay.restore();
      await decided(limiter);
    },
    'a client without `autoReconnect` is connected again by the next call': async (open) => {
      const limiter = limiterOn(open({ autoReconnect: false }));
      await limiter.ready();
      await relay.lose();
      while ((await fifty(limiter))[0] === 'decided') await sleep(5);
      areStoreErrors(await fifty(limiter));
      await relay.restore();
      await decided(limiter);
    },
    'a client with `idleTimeout` leaves a server that hangs, and is connected again by a later call':
      async (open) => {
        const limiter = limiterOn(open({ ...settings, idleTimeout: 400, connectionTimeout: 400 }));
        await limiter.ready();
        process.kill(pid, 'SIGSTOP');
        while ((await fifty(limiter))[0] !== 'ERR_STORE_AWAY') await sleep(20);
        process.kill(pid, 'SIGCONT');
        await decided(limiter);
        await sleep(600); // without traffic it closes too
        assert.deepEqual(await fifty(limiter), ['decided']);
      },
    'a server that is away from the start is used once it is there': async (open) => {
      await relay.lose();
      const limiter = limiterOn(open());
      areStoreErrors(await fifty(limiter));
      areStoreErrors(await fifty(limiter));
      await relay.restore();
      await decided(limiter);
    },
    'calls of one turn travel as one script call, also after SCRIPT FLUSH': async (open) => {
      const client = open();
      const limiter = limiterOn(client);
      await limiter.ready();
      await client.send('SCRIPT', ['FLUSH']);
      assert.deepEqual(await fifty(limiter), ['decided']);
      assert.equal(await charged(client, limiter), 50);
    },
  };
  const ownCases = Object.entries(own).map(([name, check]) => ({
    name,
    run: async () => {
      await relay.restore();
      /** @type {BunClient[]} */
      const opened = [];
      try {
        await check((options) => {
          const client = through(options);
          opened.push(client);
          return client;
        });
      } finally {
        process.kill(pid, 'SIGCONT');
        for (const client of opened) client.close();
        await relay.restore();
      }
    },
  }));
  return [...store, ...contracts, ...ownCases];
}
