import { fixedWindow, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { limitedFetch, limitMiddleware } from 'distributed-rate-limiter/fetch';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { describe, expect, test } from 'vitest';

const URL_OF_CHAT = 'https://provider.test/v1/chat/completions';
const LEFT = {
  'x-ratelimit-limit-requests': '60',
  'x-ratelimit-remaining-requests': '9',
  'x-ratelimit-reset-requests': '51s',
  'x-ratelimit-limit-tokens': '9000',
  'x-ratelimit-remaining-tokens': '700',
  'x-ratelimit-reset-tokens': '55s',
};
const ANSWER = { usage: { prompt_tokens: 5, completion_tokens: 20 } };
const jsonOf = (status: number, headers: object) =>
  new Response(JSON.stringify(ANSWER), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  });

/** A limiter on a clock that stands still. */
function make(observes = true) {
  const store = new MemoryStore({ clock: new ManualClock() });
  const limiter = new RateLimiter({
    store,
    observes,
    limits: [
      tokenBucket({ name: 'requests', unit: 'calls', rate: 60, period: '1m' }),
      tokenBucket({ name: 'tokens', unit: 'tokens', rate: 9_000, period: '1m' }),
    ],
  });
  const left = async () => {
    const { limits } = await limiter.peek('acme', { cost: { tokens: 1 } });
    return limits.map(({ remaining }) => remaining);
  };
  return { limiter, left };
}

const call = { method: 'POST', body: JSON.stringify({ max_tokens: 300, messages: [] }) };

describe('limitedFetch', () => {
  test('observes each answer of the provider, after the settlement', async () => {
    const { limiter, left } = make();
    const send = limitedFetch(limiter, { identify: 'acme', fetch: async () => jsonOf(200, LEFT) });
    await send(URL_OF_CHAT, call);
    expect(await left()).toEqual([9, 700]);
  });

  test('observes a refusal of the provider', async () => {
    const { limiter } = make();
    const refusal = () => jsonOf(429, { 'retry-after-ms': '1500' });
    const send = limitedFetch(limiter, { identify: 'acme', fetch: async () => refusal() });
    expect((await send(URL_OF_CHAT, call)).status).toBe(429);
    expect(await limiter.allow('acme')).toMatchObject({ allowed: false, retryAfterMs: 1_500 });
  });

  test('observes nothing without the option of the limiter', async () => {
    const { limiter, left } = make(false);
    const send = limitedFetch(limiter, { identify: 'acme', fetch: async () => jsonOf(200, LEFT) });
    await send(URL_OF_CHAT, call);
    expect(await left()).toEqual([59, 8_975]);
  });

  test.each([
    ['is told of the tokens', undefined, 700],
    ['is told nothing where `settle` counts otherwise', () => 1, 89_999],
  ] as const)('a limiter without units %s', async (_, settle, left) => {
    const store = new MemoryStore({ clock: new ManualClock() });
    const limits = [fixedWindow({ rate: 90_000, period: '1h' })];
    const limiter = new RateLimiter({ store, limits, observes: true });
    const fetch = async () => jsonOf(200, LEFT);
    await limitedFetch(limiter, { identify: 'acme', fetch, settle })(URL_OF_CHAT, call);
    expect(await limiter.peek('acme')).toMatchObject({ remaining: left });
  });
});

describe('limitMiddleware', () => {
  const model = { modelId: 'm', provider: 'p' };
  const usage = { inputTokens: 5, outputTokens: 20 };
  const failure = Object.assign(new Error('refused'), {
    statusCode: 429,
    responseHeaders: { 'retry-after': '3' },
  });

  test('observes the headers of an answer', async () => {
    const { limiter, left } = make();
    const { wrapGenerate } = limitMiddleware(limiter, { identify: 'acme' });
    const doGenerate = async () => ({ usage, response: { headers: LEFT } });
    await wrapGenerate({ model, params: {}, doGenerate });
    expect(await left()).toEqual([9, 700]);
  });

  test('observes the headers of a stream before it is read', async () => {
    const { limiter, left } = make();
    const { wrapStream } = limitMiddleware(limiter, { identify: 'acme' });
    const doStream = async () => ({ stream: new ReadableStream(), response: { headers: LEFT } });
    const { stream } = await wrapStream({ model, params: {}, doStream });
    expect(await left()).toEqual([9, 700]);
    await stream.cancel();
  });

  test.each(['generate', 'stream'])('observes a refusal: %s', async (type) => {
    const { limiter } = make();
    const fails = (): Promise<never> => Promise.reject(failure);
    const { wrapGenerate, wrapStream } = limitMiddleware(limiter, { identify: 'acme' });
    const failing =
      type === 'stream'
        ? wrapStream({ model, params: {}, doStream: fails })
        : wrapGenerate({ model, params: {}, doGenerate: fails });
    await expect(failing).rejects.toBe(failure);
    expect(await limiter.allow('acme')).toMatchObject({ allowed: false, retryAfterMs: 3_000 });
  });
});
