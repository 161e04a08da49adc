import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pacedFetch } from 'distributed-rate-limiter/fetch';
import type { Fetch, PacedFetchOptions } from 'distributed-rate-limiter/fetch';
import { waitUntil } from '../../kit/servers/index.mjs';

interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** The body begins and never ends. */
  readonly endless?: boolean;
}

interface Received {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly socket: Socket;
}

/** A server on loopback that gives these replies in order, and 200 after them. */
async function serve(...replies: readonly Reply[]) {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { method = '', url = '', socket } = request;
      const reply = replies[received.length] ?? {};
      received.push({ method, path: url, body, socket });
      response.writeHead(reply.status ?? 200, reply.headers);
      if (reply.endless === true) response.write(reply.body ?? 'x');
      else response.end(method === 'HEAD' ? undefined : (reply.body ?? 'done'));
    });
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, received, sockets };
}

/** A clock whose sleeps end at once, and which records their lengths. `during` may lengthen each in real time. */
function virtualClock(during: () => Promise<unknown> = setImmediate) {
  const slept: number[] = [];
  let now = Date.UTC(2026, 0, 1);
  return {
    slept,
    nowMicros: () => now * 1_000,
    advance: (ms: number) => void (now += ms),
    wakeAfter: (ms: number, wake: () => void) => {
      slept.push(ms);
      now += ms;
      // Bodies and sockets need real turns of the event loop.
      void during().then(wake);
      return () => {};
    },
  };
}

function paced(options: PacedFetchOptions = {}) {
  const clock = virtualClock();
  return { clock, fetch: pacedFetch({ jitterPercent: 0, clock, ...options }) };
}

/** A fetch without a network that gives these responses in order, and 200 after them. */
function scripted(...replies: readonly Reply[]): { fetch: Fetch; calls: Parameters<Fetch>[] } {
  const calls: Parameters<Fetch>[] = [];
  return {
    calls,
    fetch: (...call) => {
      const { status = 200, headers = {}, body = '' } = replies[calls.length] ?? {};
      calls.push(call);
      return Promise.resolve(new Response(body, { status, headers }));
    },
  };
}

const URL_OF_API = 'https://api.example.com/items';
const after = (seconds: number, status = 429): Reply => ({
  status,
  headers: { 'retry-after': String(seconds) },
});
const exhausted = (seconds: number): Reply => ({
  headers: { ratelimit: `"default";r=0;t=${seconds}` },
});

/** The result of a call, and its options. */
interface Outcome {
  readonly status: number;
  readonly slept: readonly number[];
  readonly sent: number;
  readonly options?: PacedFetchOptions;
}

describe('pacedFetch retries', () => {
  const rows: readonly (readonly [
    sentence: string,
    replies: readonly Reply[],
    expected: Outcome,
  ])[] = [
    ['a 200 is returned', [{}], { status: 200, slept: [], sent: 1 }],
    [
      'a 429 is retried after its Retry-After',
      [after(5)],
      { status: 200, slept: [5_000], sent: 2 },
    ],
    [
      'a 503 is retried after its Retry-After',
      [after(5, 503)],
      { status: 200, slept: [5_000], sent: 2 },
    ],
    [
      'a 429 is retried after the reset in RateLimit',
      [{ status: 429, headers: { ratelimit: '"x";r=0;t=7' } }],
      { status: 200, slept: [7_000], sent: 2 },
    ],
    [
      'a 429 is retried at a date by the clock of the server',
      [
        {
          status: 429,
          headers: {
            date: 'Thu, 01 Jan 2015 00:00:00 GMT',
            'retry-after': 'Thu, 01 Jan 2015 00:00:09 GMT',
          },
        },
      ],
      { status: 200, slept: [9_000], sent: 2 },
    ],
    ['a 429 without a time is returned', [{ status: 429 }], { status: 429, slept: [], sent: 1 }],
    ['a 429 with Retry-After: 0 is returned', [after(0)], { status: 429, slept: [], sent: 1 }],
    ['a wait longer than maxWaitMs is not begun', [after(31)], { status: 429, slept: [], sent: 1 }],
    ['a wait of exactly maxWaitMs is made', [after(30)], { status: 200, slept: [30_000], sent: 2 }],
    [
      'maxWaitMs bounds the sum of all waits',
      [after(20), after(10), after(1)],
      { status: 429, slept: [20_000, 10_000], sent: 3 },
    ],
    [
      'at most three retries are made',
      [after(1), after(1), after(1), after(1), after(1)],
      { status: 429, slept: [1_000, 1_000, 1_000], sent: 4 },
    ],
    [
      'no retry is made with maxRetries: 0',
      [after(1)],
      { status: 429, slept: [], sent: 1, options: { maxRetries: 0 } },
    ],
    [
      'no wait is made with maxWaitMs: 0',
      [after(1)],
      { status: 429, slept: [], sent: 1, options: { maxWaitMs: 0 } },
    ],
    ['a 502 is returned', [after(1, 502)], { status: 502, slept: [], sent: 1 }],
    [
      'a 502 is retried when retryStatuses lists it',
      [after(1, 502)],
      { status: 200, slept: [1_000], sent: 2, options: { retryStatuses: [502] } },
    ],
    [
      'a 429 is returned when retryStatuses is empty',
      [after(1)],
      { status: 429, slept: [], sent: 1, options: { retryStatuses: [] } },
    ],
    ['a 404 is returned', [after(1, 404)], { status: 404, slept: [], sent: 1 }],
  ];
  test.each(rows)('%s', async (_, replies, { options, ...expected }) => {
    const server = await serve(...replies);
    const { clock, fetch } = paced(options);
    const response = await fetch(server.url);
    expect({
      status: response.status,
      slept: clock.slept,
      sent: server.received.length,
    }).toEqual(expected);
    expect(await response.text()).toBe('done');
  });
});

describe('requests that are retried', () => {
  const stream = (): ReadableStream<Uint8Array> => new Blob(['body']).stream();
  const form = new FormData();
  form.set('a', 'b');
  const rows: readonly (readonly [
    sentence: string,
    status: number,
    call: (url: string) => Parameters<Fetch>,
    sent: number,
  ])[] = [
    ...['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'POST', 'PATCH', 'post'].map(
      (method) =>
        [
          `${method} is retried after 429`,
          429,
          (url: string) => [url, { method }] as Parameters<Fetch>,
          2,
        ] as const,
    ),
    ...['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'get'].map(
      (method) =>
        [
          `${method} is retried after 503`,
          503,
          (url: string) => [url, { method }] as Parameters<Fetch>,
          2,
        ] as const,
    ),
    ...['POST', 'PATCH', 'QUERY'].map(
      (method) =>
        [
          `${method} is not retried after 503`,
          503,
          (url: string) => [url, { method }] as Parameters<Fetch>,
          1,
        ] as const,
    ),
    ...(
      [
        ['a string', 'body'],
        ['parameters', new URLSearchParams('a=b')],
        ['a form', form],
        ['a blob', new Blob(['body'])],
        ['a buffer', new Uint8Array([98]).buffer],
        ['bytes', new Uint8Array([98])],
      ] as const
    ).map(
      ([what, body]) =>
        [
          `${what} as body is sent again`,
          429,
          (url: string) => [url, { method: 'POST', body }] as Parameters<Fetch>,
          2,
        ] as const,
    ),
    [
      'a stream as body is sent once',
      429,
      (url) => [url, { method: 'PUT', body: stream(), duplex: 'half' }],
      1,
    ],
    [
      "a Request's body is sent once",
      429,
      (url) => [new Request(url, { method: 'PUT', body: 'x' })],
      1,
    ],
    [
      'a Request without a body is sent again',
      503,
      (url) => [new Request(url, { method: 'DELETE' })],
      2,
    ],
    [
      'a Request with POST is not retried after 503',
      503,
      (url) => [new Request(url, { method: 'POST' })],
      1,
    ],
    [
      'the init of a Request decides about the retry',
      503,
      (url) => [new Request(url, { method: 'POST', body: 'x' }), { method: 'PUT', body: 'y' }],
      2,
    ],
    ['a URL is requested again', 429, (url) => [new URL(url)], 2],
  ];
  test.each(rows)('%s', async (_, status, call, sent) => {
    const server = await serve(after(5, status));
    const { fetch } = paced();
    const response = await fetch(...call(server.url));
    expect(response.status).toBe(sent === 2 ? 200 : status);
    expect(server.received).toHaveLength(sent);
    const bodies = server.received.map(({ body }) => body.replaceAll(/formdata-\S+/g, ''));
    expect(new Set(bodies).size).toBe(1);
    await response.arrayBuffer();
  });
});

describe('pacedFetch waits before a request', () => {
  test('waits once until an exhausted limit has recovered', async () => {
    const server = await serve(exhausted(8));
    const { clock, fetch } = paced();
    await (await fetch(server.url)).text();
    expect(clock.slept).toEqual([]);
    clock.advance(3_000);
    await (await fetch(`${server.url}other?path`)).text();
    await (await fetch(server.url)).text();
    expect(clock.slept).toEqual([5_000]);
  });

  test('the next call waits after a refusal that was not retried', async () => {
    const script = scripted(after(9, 503));
    const { clock, fetch } = paced({ fetch: script.fetch });
    expect((await fetch(URL_OF_API, { method: 'POST' })).status).toBe(503);
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([9_000]);
  });

  test('concurrent calls all wait, also for limits reported meanwhile', async () => {
    const script = scripted(exhausted(8), exhausted(5));
    const sleeps: { ms: number; end: () => void }[] = [];
    let now = 0;
    const fetch = pacedFetch({
      fetch: script.fetch,
      jitterPercent: 0,
      clock: {
        nowMicros: () => now * 1_000,
        wakeAfter: (ms, end) => {
          sleeps.push({ ms, end });
          return () => {};
        },
      },
    });
    await fetch(URL_OF_API);
    const calls = [fetch(URL_OF_API), fetch(URL_OF_API)] as const;
    await setImmediate();
    expect(sleeps.map(({ ms }) => ms)).toEqual([8_000, 8_000]);
    expect(script.calls).toHaveLength(1);

    now = 8_000;
    sleeps[0]!.end();
    await calls[0];
    sleeps[1]!.end();
    await setImmediate();
    expect(sleeps.map(({ ms }) => ms)).toEqual([8_000, 8_000, 5_000]);

    now = 13_000;
    sleeps[2]!.end();
    await calls[1];
    expect(script.calls).toHaveLength(3);
  });

  test('another origin does not wait, and `key` may group requests otherwise', async () => {
    const script = scripted(exhausted(8), {}, exhausted(8));
    const { clock, fetch } = paced({ fetch: script.fetch });
    await fetch(URL_OF_API);
    await fetch('https://other.example.com/items');
    expect(clock.slept).toEqual([]);

    const byMethod = scripted(exhausted(8));
    const second = paced({
      fetch: byMethod.fetch,
      key: ({ url, method }) => method + url.pathname,
    });
    await second.fetch(URL_OF_API);
    await second.fetch(URL_OF_API, { method: 'put' });
    await second.fetch('https://other.example.com/items');
    expect(second.clock.slept).toEqual([8_000]);
  });

  test('a wait longer than `maxWaitMs` is skipped and the request goes out at once', async () => {
    const script = scripted(exhausted(36_000), exhausted(36_000));
    const { clock, fetch } = paced({ fetch: script.fetch });
    await fetch(URL_OF_API);
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([]);
    clock.advance(35_980_000);
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([20_000]);
  });

  test('a request served during a known wait ends that wait', async () => {
    const script = scripted(exhausted(36_000));
    const { clock, fetch } = paced({ fetch: script.fetch });
    await fetch(URL_OF_API);
    await fetch(URL_OF_API);
    clock.advance(35_980_000);
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([]);
  });

  test('a response to a request sent earlier does not end a wait', async () => {
    let answerFirst: ((response: Response) => void) | undefined;
    const fetched: Fetch = () =>
      answerFirst === undefined
        ? new Promise((resolve) => (answerFirst = resolve))
        : Promise.resolve(new Response('', { headers: { ratelimit: '"x";r=0;t=8' } }));
    const { clock, fetch } = paced({ fetch: fetched });
    const first = fetch(URL_OF_API);
    await fetch(URL_OF_API);
    answerFirst!(new Response('', { headers: { ratelimit: '"x";r=3;t=8' } }));
    await first;
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([8_000]);
  });

  test('the longer of two waits counts, whichever response comes last', async () => {
    const answers: ((response: Response) => void)[] = [];
    const { clock, fetch } = paced({
      fetch: () => new Promise((resolve) => void answers.push(resolve)),
    });
    const calls = [fetch(URL_OF_API), fetch(URL_OF_API)];
    await waitUntil('both are sent', () => answers.length === 2);
    answers[0]!(new Response('', exhausted(8)));
    answers[1]!(new Response('', exhausted(3)));
    await Promise.all(calls);
    const third = fetch(URL_OF_API);
    await waitUntil('the third is sent', () => answers.length === 3);
    answers[2]!(new Response(''));
    await third;
    expect(clock.slept).toEqual([8_000]);
  });

  test.each([
    ['a response with something left', { ratelimit: '"x";r=1;t=8' }, 200],
    ['a 202 with Retry-After', { 'retry-after': '8' }, 202],
    ['a cached response', { ratelimit: '"x";r=0;t=8', age: '1' }, 200],
    ['a 429 without fields', {}, 429],
  ])('the next call does not wait after %s', async (_, headers, status) => {
    const script = scripted({ headers, status });
    const { clock, fetch } = paced({ fetch: script.fetch });
    await fetch(URL_OF_API);
    await fetch(URL_OF_API);
    expect(clock.slept).toEqual([]);
  });

  test('remembers the 1,000 most recently used keys', async () => {
    let seconds = 8;
    const { clock, fetch } = paced({
      fetch: () => Promise.resolve(new Response('', exhausted(seconds))),
    });
    const get = (i: number, init?: RequestInit) => fetch(`https://host${i}.example.com/`, init);
    for (let i = 0; i < 1_000; i++) await get(i);
    // The lookup makes host0 recent, so host1 and host2 are evicted for the two new hosts.
    await get(0, { signal: AbortSignal.abort() });
    await get(1_000);
    await get(1_001);
    seconds = 0;
    await get(1);
    await get(2);
    expect(clock.slept).toEqual([]);
    await get(0);
    expect(clock.slept).toEqual([8_000]);
  });
});

describe('jitter of waits', () => {
  test('lengthens each wait by up to a tenth at random, never beyond `maxWaitMs`', async () => {
    const { clock, fetch } = paced({
      fetch: () => Promise.resolve(new Response('', after(20))),
      maxRetries: 1,
      jitterPercent: undefined,
      key: ({ url }) => url.pathname,
    });
    for (let i = 0; i < 50; i++) await fetch(`${URL_OF_API}/${i}`);
    expect(clock.slept).toHaveLength(50);
    expect(Math.min(...clock.slept)).toBeGreaterThanOrEqual(20_000);
    expect(Math.max(...clock.slept)).toBeLessThanOrEqual(22_000);
    expect(new Set(clock.slept).size).toBeGreaterThan(10);

    const bounded = paced({
      fetch: scripted(after(20)).fetch,
      jitterPercent: 100,
      maxWaitMs: 20_000,
    });
    await bounded.fetch(URL_OF_API);
    expect(bounded.clock.slept).toEqual([20_000]);
  });
});

describe('an aborted signal', () => {
  test('ends the wait for a retry at once, with the reason', async () => {
    const server = await serve(after(20));
    const controller = new AbortController();
    const reason = new Error('the user left');
    let sleeping = false;
    const fetch = pacedFetch({
      clock: {
        nowMicros: () => 0,
        wakeAfter: () => {
          sleeping = true;
          return () => {};
        },
      },
    });
    const call = fetch(server.url, { signal: controller.signal });
    await waitUntil('the call waits', () => sleeping);
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(server.received).toHaveLength(1);
  });

  test("ends the wait before a request and clears its real timer, also as a Request's signal", async () => {
    const script = scripted(exhausted(20));
    const fetch = pacedFetch({ fetch: script.fetch });
    await fetch(URL_OF_API);
    const reason = new Error('the user left');
    const controller = new AbortController();
    const call = fetch(new Request(URL_OF_API, { signal: controller.signal }));
    await setImmediate();
    const timers = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const waiting = timers();
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(timers()).toBe(waiting - 1);
    expect(script.calls).toHaveLength(1);
  });

  test('rejects by fetch itself when it was aborted before the call', async () => {
    const server = await serve();
    const reason = new Error('too late');
    const { fetch } = paced();
    await expect(fetch(server.url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(server.received).toHaveLength(0);
  });

  test('leaves no listener on a long-lived signal', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
    signal.removeEventListener = (...args: Parameters<typeof add>) => (
      listeners--,
      remove(...args)
    );
    const { clock, fetch } = paced({ fetch: scripted(after(1), after(1)).fetch });
    await fetch(URL_OF_API, { signal });
    expect(clock.slept).toHaveLength(2);
    expect(listeners).toBe(0);
  });
});

describe('sockets', () => {
  test('a retry reuses the socket of the refusal, whose body was read', async () => {
    const server = await serve({ ...after(1), body: 'x'.repeat(20_000) }, after(1));
    const ended: Promise<void>[] = [];
    const fetch = pacedFetch({
      fetch: async (...call) => {
        const response = await globalThis.fetch(...call);
        const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
        const piped = response.body!.pipeTo(writable);
        ended.push(piped);
        return new Response(readable, response);
      },
      // The wait lasts until the refusal's body has been read.
      clock: virtualClock(() => ended.at(-1)!.then(() => setImmediate())),
    });
    await (await fetch(server.url)).text();
    expect(server.received).toHaveLength(3);
    expect(new Set(server.received.map(({ socket }) => socket)).size).toBe(1);
  });

  test.each([
    ['never ends', { ...after(1), endless: true }],
    ['is long', { ...after(1), body: 'x'.repeat(5_000_000) }],
  ])('a body that %s does not keep its socket', async (_, refusal) => {
    const server = await serve(refusal);
    const { fetch } = paced();
    await (await fetch(server.url)).text();
    const [first, second] = server.received;
    expect(second!.socket).not.toBe(first!.socket);
    await waitUntil('the socket is gone', () => !server.sockets.has(first!.socket));
  });

  test('a returned response is not read', async () => {
    const server = await serve({ status: 429, body: 'why' }, { ...after(99), body: 'too long' });
    const { fetch } = paced();
    expect(await (await fetch(server.url)).text()).toBe('why');
    expect(await (await fetch(server.url)).text()).toBe('too long');
  });
});

describe('behaviour inherited from fetch', () => {
  test('an unreachable server and an invalid URL reject with a TypeError', async () => {
    const { fetch } = paced();
    await expect(fetch('http://127.0.0.1:1/')).rejects.toThrow(TypeError);
    await expect(fetch('/relative')).rejects.toThrow(TypeError);
    await expect(fetch('http://')).rejects.toThrow(TypeError);
  });

  test('an error thrown by `key` rejects the call', async () => {
    const { fetch } = paced({
      key: () => {
        throw new Error('no key');
      },
    });
    await expect(fetch(URL_OF_API)).rejects.toThrow('no key');
  });

  test('the global fetch is looked up at each call', async () => {
    const fetch = pacedFetch();
    const original = globalThis.fetch;
    onTestFinished(() => void (globalThis.fetch = original));
    globalThis.fetch = () => Promise.resolve(new Response('mine'));
    expect(await (await fetch(URL_OF_API)).text()).toBe('mine');
  });

  test('arguments reach fetch unchanged', async () => {
    const script = scripted(after(1));
    const { fetch } = paced({ fetch: script.fetch });
    const init = { method: 'PUT', body: 'x' };
    await fetch(URL_OF_API, init);
    expect(script.calls).toEqual([
      [URL_OF_API, init],
      [URL_OF_API, init],
    ]);
    expect(script.calls[1]![1]).toBe(init);
  });
});

describe('invalid options of pacedFetch', () => {
  test.each([
    [null, 'pacedFetch options'],
    [{ maxWait: 5 }, 'Did you mean `maxWaitMs`'],
    [{ retries: 5 }, 'Did you mean `maxRetries`'],
    [{ maxRetry: 5 }, 'is not an option of pacedFetch'],
    [{ maxWaitMs: -1 }, '`maxWaitMs` must be'],
    [{ maxWaitMs: '30s' }, '`maxWaitMs` must be'],
    [{ maxWaitMs: Infinity }, '`maxWaitMs` must be'],
    [{ maxRetries: 101 }, '`maxRetries` must be'],
    [{ maxRetries: 1.5 }, '`maxRetries` must be'],
    [{ retryStatuses: 429 }, '`retryStatuses` must be'],
    [{ retryStatuses: [429, 200] }, '`retryStatuses[1]` must be'],
    [{ jitterPercent: 101 }, '`jitterPercent` must be'],
    [{ key: 'origin' }, '`key` must be a function'],
    [{ fetch: {} }, '`fetch` must be a function'],
    [{ clock: null }, '`clock` must be'],
    [{ clock: {} }, '`clock` must be'],
    [{ clock: { now: () => 0 } }, '`clock` must be an object with nowMicros()'],
  ])('refuses %j', (options, message) => {
    const refused = () => pacedFetch(options as PacedFetchOptions);
    expect(refused).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(refused).toThrow(message);
  });
});
