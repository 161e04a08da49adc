// @ts-check
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, openResp, waitUntil } from '../../kit/servers/index.mjs';
import { StoreError } from 'distributed-rate-limiter';
import { expectDegraded, expectReal, isReal, keyOf, MARGIN_MS } from './caller.mjs';

/**
 * The server answers with errors.
 *
 * @typedef {import('./run-scenario.mjs').Scenario} Scenario
 * @typedef {import('../../kit/servers/redis-server.mjs').RedisServer} RedisServer
 */

/**
 * A server that is made to answer with an error, and back.
 *
 * @typedef {object} Refusal
 * @property {string} word the reply's first word
 * @property {string} how
 * @property {import('../../kit/servers/redis-server.mjs').RedisOptions} [server]
 * @property {string} [login] of the user whose calls are refused, as it stands in a URL
 * @property {boolean} [onlyWrites] whether an identity that has nothing left is still refused for real
 * @property {(redis: RedisServer, proxy: import('../../kit/servers/fault-proxy.mjs').FaultProxy) => Promise<() => Promise<unknown>>} begin
 *   returns what ends it
 */

const APP = ['app on >secret ~* &* +@all'];

/** @type {readonly Refusal[]} */
const states = [
  {
    word: 'LOADING',
    how: 'while it loads 500 keys that take 2 ms each',
    server: { config: { 'loading-process-events-interval-bytes': 1024, rdbcompression: 'no' } },
    begin: async (redis) => {
      await redis.command('DEBUG', 'POPULATE', 500, 'ballast', 1_024);
      await redis.command('CONFIG', 'SET', 'key-load-delay', 2_000);
      const loaded = redis.command('DEBUG', 'RELOAD').catch(() => {});
      await refused(redis, 'LOADING');
      return async () => {
        const connection = await openResp({ path: redis.socketPath });
        await connection.command('CONFIG', 'SET', 'key-load-delay', 0).catch(() => {});
        connection.close();
        await loaded;
      };
    },
  },
  {
    word: 'BUSY',
    how: "while somebody else's script never ends",
    server: { config: { 'busy-reply-threshold': 20 } },
    begin: async (redis) => {
      const other = await openResp({ path: redis.socketPath });
      const looping = other.command('EVAL', 'while true do end', 0).catch(() => {});
      await refused(redis, 'BUSY');
      return async () => {
        await redis.command('SCRIPT', 'KILL');
        await looping;
        other.close();
      };
    },
  },
  {
    word: 'OOM',
    how: 'with maxmemory reached',
    onlyWrites: true,
    begin: async (redis) => {
      await redis.command('CONFIG', 'SET', 'maxmemory', 1);
      return () => redis.command('CONFIG', 'SET', 'maxmemory', 0);
    },
  },
  {
    word: 'NOREPLICAS',
    how: 'with too few replicas to write',
    onlyWrites: true,
    begin: async (redis) => {
      await redis.command('CONFIG', 'SET', 'min-replicas-to-write', 1);
      return () => redis.command('CONFIG', 'SET', 'min-replicas-to-write', 0);
    },
  },
  {
    word: 'MISCONF',
    how: 'because it cannot save its data',
    onlyWrites: true,
    begin: async (redis) => {
      // No file can replace a folder, whichever user runs this.
      mkdirSync(join(redis.dir, 'dump.rdb'));
      await redis.command('CONFIG', 'SET', 'save', '3600 1');
      await redis.command('BGSAVE');
      await waitUntil('the save to fail', async () => {
        return (await redis.info('persistence'))['rdb_last_bgsave_status'] === 'err';
      });
      return () => redis.command('CONFIG', 'SET', 'save', '');
    },
  },
  {
    word: 'NOPERM',
    how: 'to a user that may run no scripts',
    server: { users: APP },
    login: 'app:secret@',
    begin: async (redis) => {
      await redis.command('ACL', 'SETUSER', 'app', '-evalsha', '-eval');
      return () => redis.command('ACL', 'SETUSER', 'app', '+evalsha', '+eval');
    },
  },
  {
    word: 'NOPERM',
    how: 'to a user that may not touch its keys',
    server: { users: APP },
    login: 'app:secret@',
    begin: async (redis) => {
      await redis.command('ACL', 'SETUSER', 'app', 'resetkeys', '~elsewhere:*');
      return () => redis.command('ACL', 'SETUSER', 'app', 'allkeys');
    },
  },
  {
    word: 'NOAUTH',
    how: 'in the middle of a connection',
    begin: async (_redis, proxy) => {
      await proxy.reply('-NOAUTH Authentication required.');
      return () => proxy.pass();
    },
  },
];

/**
 * @param {Refusal} refusal
 * @returns {Scenario}
 */
function refusing({ word, how, server, login = '', onlyWrites = false, begin }) {
  return {
    name: `${word} ${how}`,
    ...(server === undefined ? {} : { server }),
    async run(context) {
      const { redis, proxy } = context;
      const caller = await context.openReady({
        timeoutMs: 2_000,
        url: `redis://${login}${proxy.host}:${proxy.port}`,
      });
      const spent = await caller.spend();
      const end = await begin(redis, proxy);
      const before = context.sent;
      const [first, refusedBefore, second] = await Promise.all([
        caller.call(),
        caller.callSpent(spent),
        caller.call(),
      ]);
      assert.equal(context.sent, before + 1, 'all in one batch');
      const error = expectDegraded([first, second], 'store_error', word);
      if (onlyWrites) {
        assert.equal(isReal(refusedBefore) && refusedBefore.reason, 'limited');
      } else {
        expectDegraded(refusedBefore, 'store_error', word);
      }
      assert.deepEqual(caller.errors, [error]);
      await end();
      expectReal(await caller.call());
      assert.equal(isReal(await caller.callSpent(spent)), true);
      assert.equal(context.sent - before, 3, 'nothing that was refused is sent again');
    },
  };
}

/** @type {Scenario} */
const noPassword = {
  name: 'NOAUTH from the start: a password is missing',
  server: { password: 'secret' },
  async run(context) {
    const caller = await context.open();
    /** @type {unknown} */
    let refusal;
    await caller.limiter.ready().catch((/** @type {unknown} */ error) => (refusal = error));
    assert.ok(refusal instanceof StoreError, String(refusal));
    assert.match(`${refusal.message} ${String(refusal.cause)}`, /NOAUTH/);
    // Which of the two depends on whether the client treats the failed login as a connection.
    const outcome = await caller.call();
    assert.ok(!isReal(outcome));
    assert.match(outcome.reason, /^store_(?:away|error)$/);
    // The error of `ready` differs from that of decisions, unless all calls share one error while the client is away.
    if (refusal !== (outcome instanceof StoreError ? outcome : outcome.error)) {
      caller.errors = caller.errors.filter((told) => told !== refusal);
    }
  },
};

/**
 * If a write fails inside the script, the script returns the server's error. So a client that looks for the primary on
 * `READONLY` does so. A refusal writes nothing, and stays a real decision.
 *
 * @type {Scenario}
 */
const replica = {
  name: 'READONLY as a replica',
  async run(context) {
    const { client, redis } = context;
    const caller = await context.openReady({ timeoutMs: 2_000 });
    const spent = await caller.spend();
    await redis.command('REPLICAOF', '127.0.0.1', await freePort());
    const alone = await caller.callSpent(spent);
    assert.equal(isReal(alone) && alone.reason, 'limited');
    const before = context.sent;
    const batch = await Promise.all([caller.call(), caller.callSpent(spent), caller.call()]);
    assert.equal(context.sent, before + 1, 'all in one batch, and not sent again');
    const error = expectDegraded(batch, 'store_error', 'READONLY');
    assert.deepEqual(caller.errors, [error]);
    await redis.command('REPLICAOF', 'NO', 'ONE');
    context.recoveryMs = await caller.recovered(performance.now(), client.reconnectMs + MARGIN_MS);
  },
};

/** @type {Scenario} */
const full = {
  name: 'maxclients reached: every new connection is refused',
  async run(context) {
    const { client, redis } = context;
    const caller = await context.openReady();
    await redis.command('CONFIG', 'SET', 'maxclients', 1);
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal');
    const since = performance.now();
    while (performance.now() - since < 300) {
      const outcome = await caller.call();
      assert.ok(!isReal(outcome));
      assert.match(
        outcome.reason,
        client.tellsOfLoss ? /^store_(?:away|error)$/ : /^store_(?:away|error|timeout)$/,
      );
      await sleep(5);
    }
    await redis.command('CONFIG', 'SET', 'maxclients', 1_000);
    context.recoveryMs = await caller.recovered(performance.now(), client.reconnectMs + MARGIN_MS);
  },
};

/** @type {Scenario} */
const foreignType = {
  name: "WRONGTYPE and UNREADABLE: somebody else's values under two keys",
  async run(context) {
    const { redis } = context;
    const caller = await context.openReady({ timeoutMs: 2_000 });
    const list = caller.fresh();
    const text = caller.fresh();
    await redis.command('RPUSH', keyOf(list), 'a');
    await redis.command('SET', keyOf(text), 'text', 'EX', 1_000);
    const before = context.sent;
    const [wrong, real, unreadable] = await Promise.all([
      caller.call(list),
      caller.call(),
      caller.call(text),
    ]);
    assert.equal(context.sent, before + 1, 'all in one batch');
    expectDegraded(wrong, 'store_error', 'WRONGTYPE');
    expectDegraded(unreadable, 'store_error', 'UNREADABLE');
    expectReal(real);
    assert.equal(await redis.command('LLEN', keyOf(list)), 1, 'left as it was');
    await Promise.all([caller.limiter.reset(list), caller.limiter.reset(text)]);
    expectReal(await caller.call(list));
    expectReal(await caller.call(text));
  },
};

/** @type {readonly Scenario[]} */
export const refusals = [...states.map(refusing), replica, noPassword, full, foreignType];

/**
 * Resolves when the server answers even `PING` with this error.
 *
 * @param {RedisServer} redis
 * @param {string} word
 */
async function refused(redis, word) {
  await waitUntil(
    `the server to answer ${word}`,
    async () => {
      const connection = await openResp({ path: redis.socketPath });
      try {
        await connection.command('GET', 'any');
        return false;
      } catch (error) {
        return error instanceof Error && error.message.startsWith(word);
      } finally {
        connection.close();
      }
    },
    { everyMs: 5 },
  );
}
