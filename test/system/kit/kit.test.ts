import { existsSync, readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  everyCommand,
  makeCertificates,
  openResp,
  runWorkers,
  slotOfKey,
  startCluster,
  startFaultProxy,
  startRedis,
  startReplicated,
  startSentinel,
  startSteppedRedis,
  startWorkers,
  steppedClockMissing,
  tagOfSlot,
  timeOf,
  tlsMissing,
  waitUntil,
} from '../../kit/servers/index.mjs';
import type { FaultProxy, RedisServer } from '../../kit/servers/index.mjs';

const worker = new URL('kit.worker.mjs', import.meta.url);

/** A zombie, whose parent has not read its exit code, has ended as well. */
function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return true;
  }
  return process.platform === 'linux' && / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** A promise's result: its value, or the message of its error. */
function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => (error instanceof Error ? error.message : error));
}

/** A promise's result, or `silence` if it does not settle soon, so that a test of silence cannot hang. */
function soon(promise: Promise<unknown>): Promise<unknown> {
  return Promise.race([outcome(promise), sleep(100, 'silence')]);
}

/** Sends single bytes, and expects exactly this answer and then silence for a while. */
async function expectRawAnswer(port: number, request: string, expected: string): Promise<void> {
  const socket = connectTcp(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
  socket.on('error', () => {});
  for (const byte of request) {
    socket.write(byte);
    await new Promise(setImmediate);
  }
  await waitUntil('the answer', () => answer.length >= expected.length);
  await sleep(50);
  socket.destroy();
  expect(answer).toBe(expected);
}

const noClock = steppedClockMissing();
const noTls = tlsMissing();

/** Ends the test's name: a skipped test states its reason. */
function because(missing: string | undefined): string {
  return missing === undefined ? '' : ` (skipped: ${missing})`;
}

describe('one server', () => {
  test('answers on its port and its unix socket, and is gone after close', async () => {
    const redis = await startRedis();
    const { pid, dir } = redis;
    const byPort = await openResp({ port: redis.port });
    const bySocket = await openResp({ path: redis.socketPath });
    expect(await byPort.command('SET', 'key', 'grün')).toBe('OK');
    expect(await bySocket.command('GET', 'key')).toBe('grün');
    await expect(byPort.command('INCR', 'key')).rejects.toMatchObject({ code: 'ERR' });
    byPort.close();
    bySocket.close();

    await redis.close();
    expect(isGone(pid)).toBe(true);
    expect(existsSync(dir)).toBe(false);
    await redis.close();
  });

  test('restarts on its port, empty or with its data', async () => {
    const redis = await startRedis();
    const { port, pid } = redis;
    await redis.command('SET', 'key', 'value');
    await redis.restart({ keepData: true });
    expect(redis.port).toBe(port);
    expect(redis.pid).not.toBe(pid);
    expect(await redis.command('GET', 'key')).toBe('value');
    await redis.restart();
    expect(await redis.command('GET', 'key')).toBeNull();

    await redis.kill();
    await expect(openResp({ port })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await redis.start();
    await (await openResp({ port })).command('PING');
    await redis.close();
  });

  test('is suspended between stop and cont', async () => {
    const redis = await startRedis();
    const client = await openResp({ port: redis.port });
    await redis.stop();
    const reply = client.command('PING');
    expect(await soon(reply)).toBe('silence');
    await redis.cont();
    expect(await reply).toBe('PONG');
    client.close();
    await redis.stop();
    await redis.close();
  });

  test('reports keys, commands, processor time and executed commands', async () => {
    const redis = await startRedis();
    const monitor = await redis.monitor();
    await redis.command('SET', 'mortal', 1, 'PX', 60_000);
    await redis.command('SET', 'immortal', 1);
    expect(await redis.keyCounts()).toEqual({ keys: 2, expires: 1 });
    expect(await redis.keysWithoutTtl()).toEqual(['immortal']);
    expect((await redis.commandStats())['set']).toMatchObject({ calls: 2, rejected: 0, failed: 0 });
    expect(await redis.cpuMicros()).toBeGreaterThan(0);
    await waitUntil('the monitor', () => monitor.lines.some((line) => line.includes('"immortal"')));
    monitor.stop();
    await redis.close();
  });

  test('accepts a password, users and lines of configuration', async () => {
    const redis = await startRedis({
      password: 's:e/c "1"',
      users: ['app on >pw ~app:* +get'],
      config: { maxmemory: '100mb', 'maxmemory-policy': 'noeviction' },
    });
    expect(new URL(redis.url).password).toBe('s%3Ae%2Fc%20%221%22');
    const client = await openResp({ port: redis.port });
    await expect(client.command('GET', 'a')).rejects.toMatchObject({ code: 'NOAUTH' });
    expect(await client.command('AUTH', 's:e/c "1"')).toBe('OK');
    expect(await client.command('AUTH', 'app', 'pw')).toBe('OK');
    await expect(client.command('GET', 'a')).rejects.toMatchObject({ code: 'NOPERM' });
    client.close();
    expect(await redis.command('CONFIG', 'GET', 'maxmemory')).toEqual(['maxmemory', '104857600']);
    await redis.close();
  });

  test.skipIf(noTls !== undefined)(
    `speaks TLS with a certificate signed by its authority${because(noTls)}`,
    async () => {
      const redis = await startRedis({ tls: true });
      expect(redis.url).toMatch(/^rediss:/);
      const ca = redis.tls?.ca ?? '';
      const client = await openResp({ port: redis.port, tls: { ca } });
      expect(await client.command('PING')).toBe('PONG');
      client.close();
      const stranger = makeCertificates({ fresh: true }).ca;
      await expect(openResp({ port: redis.port, tls: { ca: stranger } })).rejects.toThrow(
        /signature|self.signed|verify/i,
      );
      await redis.close();
    },
  );

  test('reports why it does not start', async () => {
    await expect(startRedis({ config: { maxmemory: 'plenty' } })).rejects.toThrow(
      /did not start.*plenty/s,
    );
    await expect(startRedis({ binary: 'no-such-redis' })).rejects.toThrow(/REDIS_SERVER/);
  });
});

describe('several servers', () => {
  test('a promoted replica follows, then lacks writes that it had not received', async () => {
    const { primary, replica, caughtUp, promote, close } = await startReplicated();
    await primary.command('SET', 'key', 'old');
    await caughtUp();
    expect(await replica.command('GET', 'key')).toBe('old');
    await expect(replica.command('SET', 'key', 'x')).rejects.toMatchObject({ code: 'READONLY' });

    await replica.stop();
    await primary.command('SET', 'key', 'new');
    // The replica would still receive what lies in its socket buffer, so the link must break before the lost write.
    await primary.command('CLIENT', 'KILL', 'TYPE', 'replica');
    await primary.command('SET', 'key', 'newer');
    await primary.kill();
    await replica.cont();
    await promote();
    expect(await replica.command('GET', 'key')).not.toBe('newer');
    expect(await replica.command('SET', 'key', 'x')).toBe('OK');
    await close();
  });

  test('a primary behind a proxy can be cut off from its replica and still be reached itself', async () => {
    const { primary, replica, wire, caughtUp, close } = await startReplicated({ proxied: true });
    await wire?.stall();
    expect(await primary.command('SET', 'key', 'new')).toBe('OK');
    expect(await primary.command('WAIT', 1, 100)).toBe(0);
    expect(await replica.command('GET', 'key')).toBeNull();
    await wire?.pass();
    await caughtUp();
    expect(await replica.command('GET', 'key')).toBe('new');
    await close();
  });

  test('Sentinels promote the replica of a dead primary', async () => {
    const { primary, replica, sentinels, currentPrimary, becomesPrimary, close } =
      await startSentinel({
        downAfterMs: 500,
      });
    expect(await currentPrimary()).toBe(primary);
    const pids = [primary, replica, ...sentinels].map((server) => server.pid);
    await primary.kill();
    await becomesPrimary(replica);
    expect(await currentPrimary()).toBe(replica);
    expect(await replica.command('SET', 'key', 'x')).toBe('OK');
    await close();
    expect(pids.every(isGone)).toBe(true);
  });

  test('a cluster redirects clients to the right node, also while a slot moves', async () => {
    const cluster = await startCluster();
    const slot = slotOfKey('{user}:1');
    const from = await cluster.nodeOfSlot(slot);
    const to = cluster.nodes.find((node) => node !== from);
    if (!to) throw new Error('a cluster of one node');
    expect(await from.command('CLUSTER', 'KEYSLOT', '{user}:1')).toBe(slot);
    expect(slotOfKey(`{${tagOfSlot(slot)}}anything`)).toBe(slot);
    expect(await from.command('SET', '{user}:1', 'value')).toBe('OK');
    await expect(to.command('GET', '{user}:1')).rejects.toThrow(
      `MOVED ${slot} 127.0.0.1:${from.port}`,
    );

    let meanwhile: unknown;
    await cluster.moveSlot(slot, from, to, {
      during: async () => {
        meanwhile = await outcome(from.command('GET', '{user}:1'));
      },
    });
    expect(meanwhile).toBe(`ASK ${slot} 127.0.0.1:${to.port}`);
    expect(await cluster.nodeOfKey('{user}:1')).toBe(to);
    expect(await to.command('GET', '{user}:1')).toBe('value');
    await expect(from.command('GET', '{user}:1')).rejects.toMatchObject({ code: 'MOVED' });
    await cluster.close();
    expect(cluster.nodes.every((node) => node.pid === 0)).toBe(true);
  });

  test('a replica in a cluster takes over from a hanging primary, which then follows it', async () => {
    const cluster = await startCluster({ replicas: 1 });
    const slot = slotOfKey('key');
    const primary = await cluster.nodeOfSlot(slot);
    const replica = cluster.nodes[cluster.nodes.indexOf(primary) + 3];
    await primary.stop();
    await waitUntil('the election', async () => (await cluster.nodeOfSlot(slot)) === replica);
    await cluster.settled();
    expect(await replica?.command('SET', 'key', 'x')).toBe('OK');
    await primary.cont();
    await waitUntil('the old primary to follow', async () => {
      return (await primary.info('replication'))['role'] === 'slave';
    });
    await cluster.close();
  });
});

describe.skipIf(noClock !== undefined)(`a stepped clock${because(noClock)}`, () => {
  test('moves TIME back and forth, and stays over a restart', async () => {
    const { redis, clock, close } = await startSteppedRedis();
    const offset = async () => ((await timeOf(redis)) - Date.now()) / 1000;
    await redis.command('SET', 'key', 'x', 'PX', 5000);
    clock.step(-3_600_000);
    expect(await offset()).toBeCloseTo(-3600, 0);
    // Expiry follows the wall clock, so the key lives an hour longer.
    expect(await redis.command('PTTL', 'key')).toBeGreaterThan(3_600_000);
    clock.step(7_200_000);
    expect(await offset()).toBeCloseTo(3600, 0);
    expect(clock.offsetMs).toBe(3_600_000);
    expect(await redis.command('GET', 'key')).toBeNull();
    clock.restore();
    expect(await offset()).toBeCloseTo(0, 0);

    clock.step(-1000);
    await redis.restart();
    expect(await offset()).toBeCloseTo(-1, 0);
    await close();
  });
});

describe('a fault proxy', () => {
  let redis: RedisServer;
  let proxy: FaultProxy;

  const client = () => openResp({ port: proxy.port });
  const increment = ['EVAL', "return redis.call('INCR', KEYS[1])", '1', 'counter'] as const;
  const counter = () => redis.command('GET', 'counter');

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());
  beforeEach(async () => {
    await redis.command('FLUSHALL');
    proxy = await startFaultProxy(redis);
  });
  afterEach(() => proxy.close());

  test('passes and counts everything', async () => {
    const a = await client();
    expect(
      await Promise.all([a.command(...increment), a.command('PING'), a.command(...increment)]),
    ).toEqual([1, 'PONG', 2]);
    const big = 'x'.repeat(300_000);
    await a.command('SET', 'big', big);
    expect(await a.command('GET', 'big')).toBe(big);
    expect(proxy.counts).toMatchObject({
      connections: 1,
      open: 1,
      hits: 0,
      commands: { EVAL: 2, PING: 1, SET: 1, GET: 1 },
    });
    expect(proxy.counts.bytesFromClients).toBeGreaterThan(300_000);
    expect(proxy.counts.bytesFromServer).toBeGreaterThan(300_000);
    proxy.resetCounts();
    expect(proxy.counts).toMatchObject({
      connections: 0,
      open: 1,
      bytesFromClients: 0,
      commands: {},
    });
    a.close();
    await waitUntil('the proxy to notice the end', () => proxy.counts.open === 0);
  });

  test('delays both directions in order', async () => {
    const a = await client();
    await proxy.delay(100, 50);
    const start = performance.now();
    expect(await Promise.all([a.command('ECHO', 'one'), a.command('ECHO', 'two')])).toEqual([
      'one',
      'two',
    ]);
    expect(performance.now() - start).toBeGreaterThan(145);
  });

  test('stalls old and new connections, and later delivers what it held back', async () => {
    const before = await client();
    await proxy.stall();
    const after = await client();
    const replies = Promise.all([before.command(...increment), after.command(...increment)]);
    expect(await soon(replies)).toBe('silence');
    expect(await counter()).toBeNull();
    await proxy.pass();
    expect(new Set(await replies)).toEqual(new Set([1, 2]));
  });

  test('delivers after a stall what a client sent before it gave up', async () => {
    const a = await client();
    await proxy.stall();
    const reply = outcome(a.command(...increment));
    await waitUntil('the command to arrive', () => proxy.counts.commands['EVAL'] === 1);
    a.close();
    expect(await reply).toBe('the connection was closed');
    await proxy.pass();
    await waitUntil('the late charge', async () => (await counter()) === '1');
  });

  test('refuses connections, and listens again on the same port', async () => {
    const a = await client();
    await proxy.refuse();
    await expect(a.command('PING')).rejects.toThrow('ended');
    await expect(client()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await proxy.pass();
    expect(await (await client()).command('PING')).toBe('PONG');
  });

  test('cuts connections once or repeatedly', async () => {
    const a = await client();
    await proxy.cut();
    await expect(a.command('PING')).rejects.toThrow('ended');
    const b = await client();
    expect(await b.command('PING')).toBe('PONG');
    const cut = outcome(b.command('DEBUG', 'SLEEP', '0.1'));
    await proxy.cut({ reset: true });
    expect(await cut).toContain('ECONNRESET');

    await proxy.cut({ everyMs: 20 });
    for (let round = 0; round < 3; round++) {
      const c = await client();
      await waitUntil('the next cut', () => c.closed);
    }
    await proxy.pass();
    const d = await client();
    await sleep(50);
    expect(await d.command('PING')).toBe('PONG');
  });

  test('drops replies to commands that the server has executed', async () => {
    const a = await client();
    await proxy.dropReplies({ times: 1 });
    expect(await a.command('PING')).toBe('PONG');
    expect(await soon(a.command(...increment))).toBe('silence');
    expect(await soon(a.command('PING'))).toBe('silence');
    expect(await counter()).toBe('1');
    expect(await (await client()).command(...increment)).toBe(2);
    expect(proxy.counts.hits).toBe(1);

    await proxy.dropReplies({ cut: true });
    await waitUntil('the broken connection to end', () => a.closed);
    const b = await client();
    await expect(b.command(...increment)).rejects.toThrow('ended');
    expect(await counter()).toBe('3');
  });

  test('breaks off a reply and keeps that connection silent', async () => {
    await proxy.halfReply(3, { only: everyCommand, times: 1 });
    await expectRawAnswer(proxy.port, '*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n', '+PO');
    expect(await (await client()).command('PING')).toBe('PONG');
  });

  test('answers garbage after the server has executed the command', async () => {
    const a = await client();
    await proxy.garbage();
    await expect(a.command(...increment)).rejects.toThrow('not the Redis protocol: "HTTP/1.1');
    expect(await counter()).toBe('1');
  });

  test('answers scripts in place of the server, in order and however the bytes are split', async () => {
    await proxy.reply('-BUSY Redis is busy running a script.');
    const a = await client();
    const replies = ['PING', 'EVAL', 'EVALSHA', 'PING'].map((name) =>
      outcome(name === 'PING' ? a.command(name) : a.command(name, 'return 1', '0')),
    );
    const busy = 'BUSY Redis is busy running a script.';
    expect(await Promise.all(replies)).toEqual(['PONG', busy, busy, 'PONG']);
    expect(await redis.commandStats()).not.toHaveProperty('evalsha');

    const byteByByte = '*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n*1\r\n$4\r\nPING\r\n';
    await expectRawAnswer(proxy.port, byteByByte, `-${busy}\r\n+PONG\r\n`);

    await proxy.reply((command) => (command.at(-1) === 'other' ? ':7' : undefined));
    expect(await a.command(...increment)).toBe(1);
    expect(await a.command('EVAL', 'return 1', '1', 'other')).toBe(7);
  });

  test('can play every error of a server', async () => {
    const a = await client();
    for (const code of ['LOADING', 'BUSY', 'OOM', 'READONLY', 'NOAUTH', 'NOPERM', 'WRONGTYPE']) {
      await proxy.reply(`-${code} as told`, { times: 1 });
      await expect(a.command(...increment)).rejects.toMatchObject({ code });
      await a.command(...increment);
    }
    expect(await counter()).toBe('7');
  });

  test('forwards subscriptions, RESP3 and foreign protocols', async () => {
    const a = await client();
    await a.command('HELLO', '3');
    const messages: unknown[] = [];
    a.onUnasked((value) => messages.push(value));
    const subscribed = soon(a.command('SUBSCRIBE', 'channel'));
    await waitUntil('the subscription', () => messages.length === 1);
    await redis.command('PUBLISH', 'channel', 'hello');
    await waitUntil('the message', () => messages.length === 2);
    expect(messages[1]).toEqual(['message', 'channel', 'hello']);
    expect(await subscribed).toBe('silence');
    await expectRawAnswer(proxy.port, 'PING\r\n', '+PONG\r\n');
  });
});

describe('worker processes', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());

  test('no worker starts before the last one is ready, and results come in order', async () => {
    const results = await runWorkers(worker, 3, { kind: 'barrier', port: redis.port });
    expect(results).toEqual([0, 1, 2].map((index) => ({ index, prepared: 3 })));
  });

  test('a failure of one worker or the time limit ends all of them', async () => {
    const failing = startWorkers(worker, 2, { kind: 'fail' });
    await expect(failing.results).rejects.toThrow(/worker 1: Error: on purpose/);
    expect(failing.workers.every(({ pid }) => isGone(pid))).toBe(true);
    const hanging = startWorkers(worker, 1, { kind: 'hang' }, { timeoutMs: 500 });
    await expect(hanging.results).rejects.toThrow('longer than 500 ms');
    expect(hanging.workers.every(({ pid }) => isGone(pid))).toBe(true);
  });

  test('a test may kill a worker', async () => {
    const group = startWorkers(worker, 1, { kind: 'hang' });
    await group.going;
    group.workers[0]?.kill();
    expect(await group.results).toEqual([undefined]);
  });

  test('the children of a process end with it, even when it is killed', async () => {
    await expect(runWorkers(worker, 1, { kind: 'crash', report: redis.port })).rejects.toThrow(
      'SIGKILL',
    );
    const orphan = Number(await redis.command('GET', 'orphan'));
    const folder = await redis.command('GET', 'folder');
    expect(orphan).toBeGreaterThan(0);
    await waitUntil('the orphan to end', () => isGone(orphan));
    await waitUntil('its folder to go', () => !existsSync(folder));
  });
});
