import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { OpenedPort } from '../../../src/redis/clients/from-url.ts';
import { readRedisUrl } from '../../../src/redis/clients/url.ts';

/** The part of ioredis that reports the connection's state. */
class FakeRedis extends EventEmitter {
  status = 'wait';
  readonly options = {};

  constructor() {
    super();
    // oxlint-disable-next-line no-this-alias -- the test tells it what becomes of its connection
    made = this;
  }

  connect(): Promise<void> {
    this.status = 'connecting';
    return Promise.resolve();
  }

  call(): Promise<unknown> {
    return Promise.resolve();
  }

  disconnect(): void {
    this.status = 'end';
  }

  /** The connection ended, or failed to open; the client retries. */
  fail(error: Error): void {
    this.emit('error', error);
    this.status = 'reconnecting';
    this.emit('close');
    this.emit('reconnecting', 0);
    this.status = 'connecting';
  }

  succeed(): void {
    this.status = 'ready';
    this.emit('ready');
  }
}

let made: FakeRedis;

async function open(): Promise<OpenedPort> {
  const library = { name: 'ioredis', exports: { Redis: FakeRedis } } as const;
  const port = new OpenedPort(
    Promise.resolve(library),
    readRedisUrl('redis://localhost'),
    false,
    250,
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect(port.state).toBe('connecting');
  return port;
}

test("a timeout by the client's own settings is no failed attempt while the first connection opens", async () => {
  const port = await open();
  made.fail(new Error('connect ETIMEDOUT'));
  expect(port.state).toBe('connecting');
  made.succeed();
  expect(port.state).toBe('ready');
});

test('a refused first connection is a failed attempt', async () => {
  const port = await open();
  made.fail(new Error('connect ECONNREFUSED 127.0.0.1:6379'));
  expect(port.state).toBe('away');
});

test("a timeout by the client's own settings is a failed attempt after a connection was lost", async () => {
  const port = await open();
  made.succeed();
  made.fail(new Error('read ECONNRESET'));
  expect(port.state).toBe('connecting');
  made.fail(new Error('connect ETIMEDOUT'));
  expect(port.state).toBe('away');
});
