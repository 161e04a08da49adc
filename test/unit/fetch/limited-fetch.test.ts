import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  concurrency,
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimitExceeded,
  StoreError,
  tokenBucket,
} from 'distributed-rate-limiter';
import { limitedFetch, pacedFetch } from 'distributed-rate-limiter/fetch';
import type { Fetch, LimitedFetchOptions, LimitedRequest } from 'distributed-rate-limiter/fetch';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { startProvider } from '../../../examples/llm/provider.mjs';
import { eventually } from '../../kit/fakes/eventually.ts';
import { providerStops } from '../../kit/fakes/provider-stops.ts';

let provider: Awaited<ReturnType<typeof startProvider>>;
beforeAll(async () => {
  provider = await startProvider();
});
afterAll(async () => {
  await provider.close();
});

const PROTOCOLS = ['/v1/chat/completions', '/v1/messages'];
const PROMPT = 'Say it in so many words'; // 6 tokens, 23 bytes: estimated as 6
const BUDGET = 100_000;
const price = ({ inputTokens, outputTokens }: { inputTokens: number; outputTokens: number }) => ({
  tokens: inputTokens + outputTokens,
  micros: 3 * inputTokens + 15 * outputTokens,
});

/** A limiter on a clock that stands still, so that nothing recovers. */
function limited({ tokens = 10_000, budget = BUDGET }: { tokens?: number; budget?: number } = {}) {
  const clock = new ManualClock();
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock }),
    limits: [
      tokenBucket({ name: 'requests', unit: 'calls', rate: 60, period: '1h' }),
      tokenBucket({ name: 'tokens', unit: 'tokens', rate: tokens, period: '1h', maxDebt: 500 }),
      fixedWindow({ name: 'budget', unit: 'micros', rate: budget, period: 'month' }),
    ],
  });
  const used = async () => {
    const { limits } = await limiter.peek('acme', { cost: { calls: 0, tokens: 0, micros: 0 } });
    return Object.fromEntries(
      limits.map(({ name, limit, remaining }) => [name, limit - remaining!]),
    );
  };
  return { clock, limiter, used };
}

type Limited = ReturnType<typeof limited>;

function fetchOf(
  { limiter }: Limited,
  options: Partial<LimitedFetchOptions<never, 'tokens' | 'micros'>> = {},
): Fetch {
  return limitedFetch(limiter, { identify: 'acme', settle: price, stepTokens: 20, ...options });
}

interface Asked {
  readonly path?: string;
  readonly prompt?: string;
  readonly words?: number;
  readonly stream?: boolean;
  readonly signal?: AbortSignal;
}

function ask(
  send: Fetch,
  { path = PROTOCOLS[0]!, prompt = PROMPT, words = 50, stream = false, signal }: Asked = {},
): Promise<Response> {
  return send(`${provider.url}${path}`, {
    method: 'POST',
    body: JSON.stringify({
      messages: [{ role: 'user', content: prompt }],
      max_tokens: words,
      stream,
      stream_options: { include_usage: true },
    }),
    ...(signal && { signal }),
  });
}

const NOTHING = { requests: 0, tokens: 0, budget: 0 };
const usedBy = (words: number) => ({
  requests: 1,
  tokens: 6 + words,
  budget: 3 * 6 + 15 * words,
});
const wordsIn = (text: string): number => text.match(/word /g)?.length ?? 0;

/** Reads a stream until it ends, fails, or has this many words. */
async function readWords(
  response: Response,
  most = Infinity,
): Promise<{ words: number; error: unknown; reader: ReadableStreamDefaultReader<unknown> }> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let error: unknown;
  try {
    while (wordsIn(text) < most) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value as Uint8Array, { stream: true });
    }
  } catch (caught) {
    error = caught;
  }
  return { words: wordsIn(text), error, reader };
}

describe.each(PROTOCOLS)('%s', (path) => {
  test('charges what an answer reports', async () => {
    const it = limited();
    const response = await ask(fetchOf(it), { path });
    expect(await it.used()).toEqual(usedBy(50));
    expect(wordsIn(await response.text())).toBe(50);
    expect(response.url).toBe(`${provider.url}${path}`);
  });

  test('charges what a stream reports, and passes it on unchanged', async () => {
    const it = limited();
    const response = await ask(fetchOf(it), { path, stream: true });
    expect(response.url).toBe(`${provider.url}${path}`);
    const direct = await ask(fetch, { path, stream: true });
    expect(await response.text()).toBe(await direct.text());
    expect(await it.used()).toEqual(usedBy(50));
  });

  test('charges a stream that reports no usage by what came', async () => {
    const it = limited();
    const send: Fetch = async (...call) => {
      const response = await fetch(...call);
      const text = await response.text();
      const silent = text.replaceAll(/"usage":\{[^}]*\}/g, '"usage":null');
      return new Response(silent, response);
    };
    await (await ask(fetchOf(it, { fetch: send }), { path, stream: true })).text();
    // A word is five bytes, estimated as a quarter of them.
    expect(await it.used()).toEqual(usedBy(Math.ceil((50 * 5) / 4)));
  });

  test('a call that the limit refuses is not sent', async () => {
    const it = limited({ tokens: 60 });
    const send = fetchOf(it);
    await ask(send, { path });
    const sent = provider.requests;
    const refused = ask(send, { path });
    await expect(refused).rejects.toBeInstanceOf(RateLimitExceeded);
    await expect(refused).rejects.toMatchObject({ decision: { limitedBy: ['tokens'] } });
    expect(provider.requests).toBe(sent);
    expect(await it.used()).toEqual(usedBy(50));
  });

  test('a stream forwards no token that is not paid for, and fails where the budget ends', async () => {
    const budget = 18 + 15 * 100;
    const it = limited({ budget });
    const response = await ask(
      fetchOf(it, { cost: () => price({ inputTokens: 6, outputTokens: 20 }) }),
      {
        path,
        stream: true,
        words: 100_000,
      },
    );
    const { words, error } = await readWords(response);
    expect(error).toBeInstanceOf(RateLimitExceeded);
    expect(error).toMatchObject({ decision: { limitedBy: ['budget'] } });
    expect(words).toBeGreaterThan(20);
    expect(words).toBeLessThanOrEqual(100);
    const { budget: charged } = await it.used();
    expect(charged).toBeGreaterThanOrEqual(18 + 15 * words);
    expect(charged).toBeLessThanOrEqual(budget);
    await providerStops(provider);
  });

  test.each(['cancelled', 'aborted'])('a stream that is %s is charged what came', async (how) => {
    const it = limited();
    const client = new AbortController();
    const response = await ask(fetchOf(it), {
      path,
      stream: true,
      words: 500,
      signal: client.signal,
    });
    const reading = await readWords(response, 30);
    if (how === 'cancelled') {
      await reading.reader.cancel();
    } else {
      client.abort(); // and nobody reads on
      await eventually(async () => expect((await it.used())['tokens']).toBeLessThan(506));
      await expect(reading.reader.read()).rejects.toThrow('abort');
    }
    const { requests, tokens } = await it.used();
    expect(requests).toBe(1);
    expect(tokens).toBeGreaterThanOrEqual(6 + reading.words);
    expect(tokens).toBeLessThan(506);
  });

  test('a stream that breaks is charged what came', async () => {
    const it = limited();
    const response = await ask(fetchOf(it), { path, stream: true, words: 100, prompt: 'break' });
    const { words, error } = await readWords(response);
    expect(error).toBeInstanceOf(Error);
    expect(words).toBe(50);
    const { tokens } = await it.used();
    expect(tokens).toBeGreaterThanOrEqual(50);
    expect(tokens).toBeLessThan(80);
  });

  test.each([
    ['is refused by the provider', { prompt: 'fail' }],
    ['breaks in the middle of its answer', { prompt: 'break' }],
  ])('a call that %s gives back all', async (_, asked) => {
    const it = limited();
    const response = await ask(fetchOf(it), { path, ...asked });
    await response.text().catch(() => undefined);
    expect(await it.used()).toEqual(NOTHING);
  });
});

test('a call that is aborted before it is answered gives back all', async () => {
  const it = limited();
  const client = new AbortController();
  const call = ask(fetchOf(it), { stream: true, words: 5_000, signal: client.signal });
  client.abort();
  await expect(call).rejects.toThrow('abort');
  expect(await it.used()).toEqual(NOTHING);
});

test('a provider that cannot be reached gives back all', async () => {
  const it = limited();
  await expect(fetchOf(it)('http://127.0.0.1:1/', { method: 'POST' })).rejects.toThrow(
    'fetch failed',
  );
  expect(await it.used()).toEqual(NOTHING);
});

test('retries are charged once, inside and outside', async () => {
  const clock = new ManualClock();
  const statuses = (): Fetch => {
    const left = [429, 503, 200];
    return async (...call) => {
      const status = left.shift()!;
      clock.advance('1m'); // so that no wait is needed, whatever is asked
      return status === 200
        ? fetch(...call)
        : new Response('{}', { status, headers: { 'retry-after': '1' } });
    };
  };
  for (const inside of [true, false]) {
    const it = limited();
    const waits = { maxWaitMs: 60_000, jitterPercent: 0, retryStatuses: [429, 503], clock: eager };
    const send = inside
      ? fetchOf(it, { fetch: pacedFetch({ ...waits, fetch: statuses() }) })
      : pacedFetch({ ...waits, fetch: fetchOf(it, { fetch: statuses() }) });
    const response = await send(`${provider.url}/v1/chat/completions`, {
      method: 'PUT', // is retried after a 503
      body: JSON.stringify({ messages: [{ content: PROMPT }], max_tokens: 50 }),
    });
    expect(response.status).toBe(200);
    expect(await it.used()).toEqual(usedBy(50));
  }
});

/** A clock on which no wait takes time. */
const eager = (() => {
  let now = 0;
  return {
    nowMicros: () => now,
    wakeAfter: (ms: number, wake: () => void) => {
      now += ms * 1_000;
      queueMicrotask(wake);
      return () => {};
    },
  };
})();

test('streams at once spend no more than the budget together', async () => {
  const budget = 18 * 10 + 15 * 400;
  const it = limited({ budget });
  const send = fetchOf(it, { cost: () => price({ inputTokens: 6, outputTokens: 20 }) });
  const words = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const response = await ask(send, { stream: true, words: 5_000 });
      return (await readWords(response)).words;
    }),
  );
  const forwarded = words.reduce((sum, each) => sum + each, 0);
  expect(forwarded).toBeGreaterThan(200);
  expect(18 * 10 + 15 * forwarded).toBeLessThanOrEqual(budget);
  expect((await it.used())['budget']).toBeLessThanOrEqual(budget);
});

test('a stream that outlives its reservation fails, and names `ttl`', async () => {
  const it = limited();
  const response = await ask(
    fetchOf(it, { ttl: '1m', cost: () => price({ inputTokens: 6, outputTokens: 20 }) }),
    { stream: true, words: 500 },
  );
  it.clock.advance('1m');
  const { error } = await readWords(response);
  expect(error).toMatchObject({ message: expect.stringContaining('`ttl` must be longer') });
});

describe('what is reserved', () => {
  const reserved = async (
    body: object | undefined,
    options: Partial<LimitedFetchOptions<never, 'tokens' | 'micros'>> = {},
  ): Promise<unknown> => {
    const it = limited();
    let used: unknown;
    const send: Fetch = async () => {
      used = (await it.used())['tokens'];
      return new Response('no usage', { headers: { 'content-type': 'text/plain' } });
    };
    await fetchOf(it, { fetch: send, ...options })('https://api.example.com/v1', {
      method: 'POST',
      ...(body && { body: JSON.stringify(body) }),
    });
    // Without usage the estimate stays.
    expect((await it.used())['tokens']).toBe(used);
    return used;
  };
  const messages = [{ role: 'user', content: 'x'.repeat(40) }];

  test.each<[what: string, body: object | undefined, tokens: number]>([
    ['the prompt and `max_tokens`', { messages, max_tokens: 30 }, 40],
    ['`max_completion_tokens` first', { messages, max_tokens: 99, max_completion_tokens: 30 }, 40],
    ['`max_output_tokens`', { input: 'x'.repeat(40), max_output_tokens: 30 }, 40],
    ['as many answers as `n`', { messages, max_tokens: 30, n: 3 }, 100],
    ['`stepTokens` where no maximum is named', { messages }, 30],
    [
      '`system`, and parts of a message',
      {
        system: 'x'.repeat(19),
        messages: [{ content: [{ type: 'text', text: 'x'.repeat(20) }] }],
        max_tokens: 30,
      },
      40,
    ],
    [
      'no image',
      {
        messages: [
          { content: 'x'.repeat(40) },
          {
            content: [
              { type: 'image_url', image_url: { url: `data:image/png;base64,${'x'.repeat(99)}` } },
            ],
          },
        ],
        max_tokens: 30,
      },
      40,
    ],
    ['no answer of an embedding', { input: 'x'.repeat(40), model: 'text-embedding-3-small' }, 10],
    ['nothing without a body', undefined, 0],
  ])('is %s', async (_, body, tokens) => {
    expect(await reserved(body)).toBe(tokens);
  });

  test('is the `cost` of the request', async () => {
    const seen: LimitedRequest[] = [];
    const cost = async (request: LimitedRequest) => {
      seen.push(request);
      return { tokens: 7, micros: 0 };
    };
    expect(await reserved({ messages, max_tokens: 30 }, { cost })).toBe(7);
    expect(seen).toMatchObject([
      {
        method: 'POST',
        body: { messages, max_tokens: 30 },
        estimate: { inputTokens: 10, outputTokens: 30 },
      },
    ]);
    expect(seen[0]!.url.href).toBe('https://api.example.com/v1');
  });

  test('reads the body of a Request and of bytes, and passes both on', async () => {
    const it = limited();
    const body = JSON.stringify({ messages: [{ content: PROMPT }], max_tokens: 50 });
    const headers = { 'content-type': 'application/json', 'x-team': 'blue' };
    const seen: unknown[] = [];
    const send = fetchOf(it, {
      identify: (request) => {
        seen.push([request.estimate.outputTokens, request.headers.get('x-team')]);
        return 'acme';
      },
    });
    const url = `${provider.url}/v1/chat/completions`;
    await send(new Request(url, { method: 'POST', body, headers }));
    await send(url, { method: 'POST', body: new TextEncoder().encode(body), headers });
    expect(seen).toEqual([
      [50, 'blue'],
      [50, 'blue'],
    ]);
    expect((await it.used())['tokens']).toBe(112);
  });
});

describe('the default of `settle`', () => {
  test.each([
    ['all tokens, in a limiter without units', {}, { cost: 56 }],
    ['tokens', { limits: [{ unit: 'tokens' }] }, { cost: { tokens: 56 } }],
    [
      'input and output',
      { limits: [{ unit: 'input_tokens' }, { unit: 'output_tokens' }] },
      { cost: { input_tokens: 6, output_tokens: 50 } },
    ],
  ])('is %s', async (_, { limits }: { limits?: { unit: string }[] }, seen) => {
    const decisions: unknown[] = [];
    const rule = { rate: 1_000, period: '1h' } as const;
    const limiter = new RateLimiter({
      store: new MemoryStore({ clock: new ManualClock() }),
      onAllow: (_identity: unknown, decision: unknown) => void decisions.push(decision),
      ...(limits === undefined
        ? rule
        : { limits: limits.map(({ unit }) => tokenBucket({ name: unit, unit, ...rule })) }),
    } as never);
    await ask(limitedFetch(limiter, { identify: 'acme' }));
    expect(decisions).toMatchObject([seen]);
    const [first] = (await limiter.peek('acme', { cost: 0 })).limits;
    expect(first!.limit - first!.remaining!).toBe(limits?.length === 2 ? 6 : 56);
  });
});

describe("onRefused: 'respond'", () => {
  const respond = async (limiter: RateLimiter): Promise<Response> =>
    ask(limitedFetch(limiter, { identify: 'acme', onRefused: 'respond' }), { words: 50 });
  const store = new MemoryStore({ clock: new ManualClock() });
  const limitersOf: Record<string, () => RateLimiter> = {
    limited: () => new RateLimiter({ store, namespace: 'a', rate: 60, period: '1h' }),
    impossible: () => new RateLimiter({ store, namespace: 'b', rate: 10, period: '1h' }),
    forbidden: () =>
      new RateLimiter({ store, namespace: 'c', limits: [tokenBucket({ rate: 0, period: '1h' })] }),
    degraded: () =>
      new RateLimiter({
        redis: 'redis://127.0.0.1:1',
        rate: 1_000,
        period: '1h',
        failStrategy: 'closed',
        onError: () => {},
      }),
  };

  test.each<[reason: string, status: number, fields: Record<string, string | null>]>([
    [
      'limited',
      429,
      { 'retry-after': '3120', 'retry-after-ms': '3120000', 'x-should-retry': null },
    ],
    ['impossible', 413, { 'retry-after': null, 'x-should-retry': 'false' }],
    ['forbidden', 403, { 'retry-after': null, 'x-should-retry': 'false' }],
    ['degraded', 503, { 'retry-after': null, 'x-should-retry': null }],
  ])('answers a call that is %s with %i', async (reason, status, fields) => {
    const limiter = limitersOf[reason]!();
    onTestFinished(() => limiter.close());
    if (reason === 'limited') await limiter.allow('acme', { cost: 56 });
    const sent = provider.requests;
    const response = await respond(limiter);
    expect(response.status).toBe(status);
    for (const [name, value] of Object.entries(fields))
      expect(response.headers.get(name)).toBe(value);
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'rate_limit_error', code: 'rate_limit_exceeded', message: expect.any(String) },
    });
    expect(provider.requests).toBe(sent);
  });
});

describe('the settlement', () => {
  /** A limiter whose reservations settle as these functions do. */
  function settling(...answers: (() => Promise<unknown>)[]): {
    limiter: RateLimiter;
    settled: unknown[];
  } {
    const settled: unknown[] = [];
    const reservation = {
      allowed: true,
      settle: (units: unknown) => {
        settled.push(units);
        return answers.shift()!();
      },
    };
    const limiter = { limits: [{}], reserve: () => Promise.resolve(reservation) };
    return { limiter: limiter as never, settled };
  }
  const lost = () => Promise.reject(new StoreError('store_timeout', 'lost'));

  test('is asked for again when its answer was lost, and the answer is returned in any case', async () => {
    for (const answers of [
      [lost, () => Promise.resolve()],
      [lost, lost],
    ]) {
      const { limiter, settled } = settling(...answers);
      const response = await ask(limitedFetch(limiter, { identify: 'acme' }));
      expect(wordsIn(await response.text())).toBe(50);
      expect(settled).toEqual([56, 56]);
    }
  });

  test('rejects the call if `settle` returns no units', async () => {
    const it = limited();
    const send = fetchOf(it, {
      settle: () => ({ tokens: 0.5 }),
      cost: () => ({ tokens: 1, micros: 1 }),
    });
    await expect(ask(send)).rejects.toMatchObject({ code: 'ERR_INVALID_COST' });
  });

  test('does not withhold an answer when the limiter is closed meanwhile', async () => {
    const it = limited();
    const send = fetchOf(it, {
      fetch: async (...call) => {
        await it.limiter.close();
        return fetch(...call);
      },
    });
    expect((await ask(send)).status).toBe(200);
  });
});

test('passes on what is no request, and answers of any other kind', async () => {
  const it = limited();
  await expect(fetchOf(it)('no url')).rejects.toThrow(TypeError);
  expect(await it.used()).toEqual(NOTHING);
  const server = createServer((_, response) => response.end('plain')).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const response = await fetchOf(it)(`http://127.0.0.1:${port}/`);
  expect(await response.text()).toBe('plain');
  expect((await it.used())['requests']).toBe(1);
});

describe('refuses wrong options', () => {
  const plain = new RateLimiter({ store: new MemoryStore(), rate: 1, period: '1h' });
  const money = limited().limiter as never;
  const places = new RateLimiter({
    store: new MemoryStore(),
    limits: [concurrency({ max: 1, ttl: '1m' })],
  });
  test.each<[limiter: unknown, options: unknown, message: string]>([
    [undefined, {}, '`limiter` must be a RateLimiter, got undefined'],
    [{ rate: 1, period: '1h' }, {}, '`limiter` must be a RateLimiter, got an object'],
    [places, { identify: 'a' }, '`limiter` must have no concurrency limit'],
    [plain, {}, '`identify` must be'],
    [plain, null, 'limitedFetch options'],
    [plain, { identify: true }, '`identify` must be'],
    [plain, { key: 'a' }, 'Did you mean `identify`'],
    [plain, { identify: 'a', estimate: () => 1 }, 'Did you mean `cost`'],
    [plain, { identify: 'a', cost: 5 }, '`cost` must be a function'],
    [plain, { identify: 'a', settle: 5 }, '`settle` must be a function'],
    [
      money,
      { identify: 'a' },
      "`settle` must be given where a limit counts anything but calls, tokens, input_tokens and output_tokens, got the unit 'micros'",
    ],
    [plain, { identify: 'a', stepTokens: 0 }, '`stepTokens` must be'],
    [plain, { identify: 'a', ttl: 60 }, '`ttl` must be'],
    [plain, { identify: 'a', fetch: {} }, '`fetch` must be a function'],
    [plain, { identify: 'a', onRefused: 'retry' }, "`onRefused` must be 'throw' or 'respond'"],
  ])('%#: %j', (limiter, options, message) => {
    const made = () => limitedFetch(limiter as never, options as never);
    expect(made).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
    expect(made).toThrow(message);
  });
});
