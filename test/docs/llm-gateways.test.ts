/** Runs the gateway of docs/llm-gateways.md as its reader does, before a provider that counts what it generates. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RateLimiter } from 'distributed-rate-limiter';
import { limits } from '../../examples/llm/limits.mjs';
import { startProvider } from '../../examples/llm/provider.mjs';
import { startCommand } from '../kit/servers/command.mjs';
import { startRedis, waitUntil } from '../kit/servers/index.mjs';
import type { RedisServer } from '../kit/servers/index.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PROMPT = 'Say it in so many words'; // 6 tokens
const PROMPT_MICROS = 6 * 3;
const MICROS = 15;
const STEP = 200;

let redis: RedisServer;
let provider: Awaited<ReturnType<typeof startProvider>>;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  redis = await startRedis();
  provider = await startProvider();
});
afterAll(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
  await provider.close();
  await redis.close();
});

async function startGateway(budget?: number): Promise<string> {
  const run = startCommand([process.execPath, path.join(root, 'examples/llm/gateway.mjs')], {
    REDIS_URL: redis.url,
    PROVIDER_URL: provider.url,
    ...(budget !== undefined && { BUDGET: String(budget) }),
  });
  cleanups.push(run.close);
  const [, origin = ''] = await run.printed(/^(http:\S+)\n/m);
  return origin;
}

function ask(
  origin: string,
  key: string,
  tokens: number,
  options: { prompt?: string; signal?: AbortSignal } = {},
): Promise<Response> {
  return fetch(origin, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, connection: 'close' },
    body: JSON.stringify({
      messages: [{ role: 'user', content: options.prompt ?? PROMPT }],
      max_tokens: tokens,
    }),
    ...(options.signal && { signal: options.signal }),
  });
}

/** Units that are left of a limit. */
async function left(identity: string, name: string): Promise<number> {
  const [org = '', key = ''] = identity.split('.');
  const limiter = new RateLimiter({ redis: redis.url, namespace: 'llm', limits });
  const decision = await limiter.peek({ org, key }, { cost: { calls: 0, tokens: 0, micros: 0 } });
  await limiter.close();
  return decision.limits.find((limit) => limit.name === name)!.remaining!;
}

test('the code of the page is that of the example', () => {
  const files = ['limits', 'gateway'].map((name) =>
    readFileSync(path.join(root, `examples/llm/${name}.mjs`), 'utf8'),
  );
  const page = readFileSync(path.join(root, 'docs/llm-gateways.md'), 'utf8');
  const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = '']) => code);
  expect(blocks).toHaveLength(4);
  for (const block of blocks) {
    expect(files.some((file) => file.includes(block))).toBe(true);
  }
});

test('an answer is charged as the provider reports it', async () => {
  const origin = await startGateway();
  const before = await left('acme.one', 'budget');
  const response = await ask(origin, 'acme.one', 500);
  expect(response.status).toBe(200);
  expect((await response.text()).match(/word/g)).toHaveLength(500);
  const micros = PROMPT_MICROS + 500 * MICROS;
  await waitUntil(
    'the settlement',
    async () => before - (await left('acme.one', 'budget')) === micros,
  );
  // A minute's rate comes back meanwhile, so at most what was charged is missing.
  const tokens = await left('acme.one', 'tokens');
  expect(tokens).toBeGreaterThanOrEqual(90_000 - 506);
  expect(tokens).toBeLessThanOrEqual(90_000);
});

test('a provider that fails costs nothing', async () => {
  const origin = await startGateway();
  const before = await left('failing.one', 'budget');
  const response = await ask(origin, 'failing.one', 500, { prompt: 'fail' });
  expect(response.status).toBe(502);
  expect(before).toBe(9_000_000_000);
  await waitUntil('the cancellation', async () => (await left('failing.one', 'budget')) === before);
});

test('a client that leaves stops the provider, and pays for what had come', async () => {
  const origin = await startGateway();
  const before = await left('leaving.one', 'budget');
  const sentBefore = provider.sent;
  const client = new AbortController();
  const response = await ask(origin, 'leaving.one', 1_000_000, { signal: client.signal });
  const reader = response.body!.getReader();
  let read = 0;
  while (read < 20_000) read += (await reader.read()).value?.length ?? Infinity;
  client.abort();
  let sent = -1;
  await waitUntil(
    'the end of the provider',
    () => {
      const stopped = provider.sent === sent;
      sent = provider.sent;
      return stopped;
    },
    { everyMs: 100 },
  );
  const generated = provider.sent - sentBefore;
  expect(generated).toBeLessThan(100_000);
  await waitUntil('a settlement of no more than was generated', async () => {
    const charged = before - (await left('leaving.one', 'budget'));
    return charged > PROMPT_MICROS && charged <= PROMPT_MICROS + generated * MICROS;
  });
});

test('a budget that ends in mid-stream ends the stream, and refuses the next call', async () => {
  const budget = PROMPT_MICROS + 3 * STEP * MICROS;
  const origin = await startGateway(budget);
  const response = await ask(origin, 'small.one', 5_000);
  expect(response.status).toBe(200);
  const body = await response.text();
  expect(body.match(/word/g)).toHaveLength(3 * STEP);
  expect(body).toContain('event: error\ndata: {"error":"rate_limited"}');
  const next = await ask(origin, 'small.two', 10);
  expect(next.status).toBe(429);
  expect(await next.json()).toEqual({ error: 'limited', limits: ['budget'] });
  expect(Number(next.headers.get('retry-after'))).toBeGreaterThan(0);
});

test('two gateways share a budget, and forward no token that it does not pay for', async () => {
  const budget = 40 * STEP * MICROS;
  const origins = await Promise.all([startGateway(budget), startGateway(budget)]);
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const response = await ask(origins[i % 2]!, `shared.key-${i}`, 2_000);
      const body = await response.text();
      return response.ok ? (body.match(/word/g) ?? []).length : 0;
    }),
  );
  const prompts = answers.filter((tokens) => tokens > 0).length;
  const forwarded = answers.reduce((sum, tokens) => sum + tokens, 0);
  expect(forwarded).toBeGreaterThan(0);
  expect(prompts * PROMPT_MICROS + forwarded * MICROS).toBeLessThanOrEqual(budget);
});
