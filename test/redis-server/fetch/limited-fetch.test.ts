import { afterAll, beforeAll, expect, test } from 'vitest';
import { fixedWindow, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { limitedFetch } from 'distributed-rate-limiter/fetch';
import { startProvider } from '../../../examples/llm/provider.mjs';
import { startRedis } from '../../kit/servers/index.mjs';
import type { RedisServer } from '../../kit/servers/index.mjs';

let redis: RedisServer;
let provider: Awaited<ReturnType<typeof startProvider>>;
beforeAll(async () => {
  redis = await startRedis();
  provider = await startProvider();
});
afterAll(async () => {
  await provider.close();
  await redis.close();
});

const PROMPT_MICROS = 6 * 3;

function openLimiter(budget: number) {
  return new RateLimiter({
    redis: redis.url,
    failStrategy: 'closed',
    limits: [
      tokenBucket({ name: 'tokens', by: 'key', unit: 'tokens', rate: 90_000, period: '1m' }),
      fixedWindow({ name: 'budget', by: 'org', unit: 'micros', rate: budget, period: 'month' }),
    ],
  });
}

test('streams of two limiters on one Redis forward no token that the common budget does not pay for', async () => {
  const budget = 12 * PROMPT_MICROS + 15 * 600;
  const limiters = [openLimiter(budget), openLimiter(budget)];
  const words = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const send = limitedFetch(limiters[i % 2]!, {
        identify: { org: 'acme', key: `key-${i}` },
        stepTokens: 20,
        cost: () => ({ tokens: 26, micros: PROMPT_MICROS + 15 * 20 }),
        settle: ({ inputTokens, outputTokens }) => ({
          tokens: inputTokens + outputTokens,
          micros: 3 * inputTokens + 15 * outputTokens,
        }),
      });
      const response = await send(`${provider.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({
          messages: [{ content: 'Say it in so many words' }],
          max_tokens: i < 4 ? 30 : 3_000,
          stream: true,
          stream_options: { include_usage: true },
        }),
      });
      let text = '';
      try {
        const decoder = new TextDecoder();
        for await (const bytes of response.body!) text += decoder.decode(bytes, { stream: true });
      } catch {
        // The budget has ended.
      }
      return text.match(/word /g)?.length ?? 0;
    }),
  );
  const forwarded = words.reduce((sum, each) => sum + each, 0);
  expect(forwarded).toBeGreaterThan(300);
  expect(12 * PROMPT_MICROS + 15 * forwarded).toBeLessThanOrEqual(budget);
  const left = await limiters[0]!.peek({ org: 'acme', key: 'key-0' }, { cost: { micros: 0 } });
  const charged = budget - left.limits.find(({ name }) => name === 'budget')!.remaining!;
  // What was settled is what was forwarded, or the piece that was refused more.
  expect(charged).toBeGreaterThanOrEqual(12 * PROMPT_MICROS + 15 * forwarded);
  expect(charged).toBeLessThanOrEqual(budget);
  await Promise.all(limiters.map((limiter) => limiter.close()));
});
