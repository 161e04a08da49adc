/** `limitMiddleware` in the AI SDK itself, before a provider on loopback. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import {
  fixedWindow,
  MemoryStore,
  RateLimiter,
  RateLimitExceeded,
  tokenBucket,
} from 'distributed-rate-limiter';
import { limitMiddleware } from 'distributed-rate-limiter/fetch';
import type { LimitMiddlewareOptions, ModelCall } from 'distributed-rate-limiter/fetch';
import { ManualClock } from 'distributed-rate-limiter/testing';
import { startProvider } from '../../examples/llm/provider.mjs';
import { ensurePackagesOf } from '../../scripts/bootstrap.mjs';
import { eventually } from '../kit/fakes/eventually.ts';
import { providerStops } from '../kit/fakes/provider-stops.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The majors of the AI SDK, each with the specification of the models that it brings. */
const MAJORS = [
  [5, 'v2'],
  [6, 'v3'],
  [7, 'v4'],
] as const;
const folderOf = (major: number): string => path.join(root, `test/installs/ai-${major}`);
const PROMPT = 'Say it in so many words'; // 6 tokens

interface Streamed {
  readonly textStream: AsyncIterable<string>;
}
/** What is used of the package `ai`. */
interface AiSdk {
  generateText(options: object): Promise<{ text: string }>;
  streamText(options: object): Streamed;
  wrapLanguageModel(options: object): object;
}
interface OpenAICompatible {
  createOpenAICompatible(options: object): (model: string) => Model;
}
interface Model {
  readonly specificationVersion: string;
}

let ai: AiSdk;
let makeModel: (model: string) => Model;
let provider: Awaited<ReturnType<typeof startProvider>>;

beforeAll(async () => {
  for (const [major] of MAJORS) ensurePackagesOf(folderOf(major), `AI SDK ${major}`);
  provider = await startProvider();
});
afterAll(async () => {
  await provider.close();
});

/** A limited model, on a clock that stands still. */
function setUp(
  budget = 100_000,
  options: Partial<LimitMiddlewareOptions<'org', 'tokens' | 'micros'>> = {},
) {
  const limiter = new RateLimiter({
    store: new MemoryStore({ clock: new ManualClock() }),
    limits: [
      tokenBucket({ name: 'requests', by: 'org', unit: 'calls', rate: 60, period: '1h' }),
      tokenBucket({ name: 'tokens', by: 'org', unit: 'tokens', rate: 9_000, period: '1h' }),
      fixedWindow({ name: 'budget', by: 'org', unit: 'micros', rate: budget, period: 'month' }),
    ],
  });
  const model = ai.wrapLanguageModel({
    model: makeModel('words'),
    middleware: limitMiddleware(limiter, {
      identify: { org: 'acme' },
      settle: ({ inputTokens, outputTokens }) => ({
        tokens: inputTokens + outputTokens,
        micros: 3 * inputTokens + 15 * outputTokens,
      }),
      stepTokens: 20,
      ...options,
    }),
  });
  const used = async () => {
    const cost = { calls: 0, tokens: 0, micros: 0 };
    const { limits } = await limiter.peek({ org: 'acme' }, { cost });
    return Object.fromEntries(
      limits.map(({ name, limit, remaining }) => [name, limit - remaining!]),
    );
  };
  return { model, used };
}

const usedBy = (words: number) => ({ requests: 1, tokens: 6 + words, budget: 18 + 15 * words });
const NOTHING = { requests: 0, tokens: 0, budget: 0 };

/** Reads a stream's text; `streamText` hands errors to `onError`. */
async function readText(
  options: object,
  most = Infinity,
): Promise<{ text: string; error: unknown }> {
  let text = '';
  let error: unknown;
  const { textStream } = ai.streamText({
    maxRetries: 0,
    ...options,
    onError: (event: { error: unknown }) => (error = event.error),
  });
  for await (const piece of textStream) {
    text += piece;
    if (text.length >= most) break;
  }
  return { text, error };
}

describe.each(MAJORS)('in AI SDK %i', (major, specification) => {
  beforeAll(async () => {
    const require = createRequire(path.join(folderOf(major), 'package.json'));
    const load = <T>(name: string): Promise<T> =>
      import(/* @vite-ignore */ pathToFileURL(require.resolve(name)).href) as Promise<T>;
    ai = await load<AiSdk>('ai');
    const { createOpenAICompatible } = await load<OpenAICompatible>('@ai-sdk/openai-compatible');
    makeModel = createOpenAICompatible({
      name: 'words',
      baseURL: `${provider.url}/v1`,
      includeUsage: true,
    });
  });

  test(`models are of specification ${specification}`, () => {
    expect(makeModel('words').specificationVersion).toBe(specification);
  });

  test.each([600, 10])(
    'generateText and streamText are charged what the model reports, of %i reserved',
    async (reserved) => {
      const call = { prompt: PROMPT, maxOutputTokens: 50 };
      const cost = () => ({ tokens: reserved, micros: reserved });
      const generating = setUp(100_000, { cost });
      const { text } = await ai.generateText({ ...call, model: generating.model });
      expect(text).toBe('word '.repeat(50));
      expect(await generating.used()).toEqual(usedBy(50));
      const streaming = setUp(100_000, { cost });
      const { text: streamed } = await readText({ ...call, model: streaming.model });
      expect(streamed).toBe('word '.repeat(50));
      expect(await streaming.used()).toEqual(usedBy(50));
    },
  );

  test('a call that the limit refuses is not sent, and its retries are not charged', async () => {
    const { model, used } = setUp(18 + 15 * 50);
    const call = { model, prompt: PROMPT, maxOutputTokens: 50 };
    await ai.generateText(call);
    const sent = provider.requests;
    const refused: unknown = await ai.generateText({ ...call, maxRetries: 2 }).catch((e) => e);
    expect(refused).toBeInstanceOf(RateLimitExceeded);
    expect((await readText(call)).error).toBeInstanceOf(RateLimitExceeded);
    expect(provider.requests).toBe(sent);
    expect(await used()).toEqual(usedBy(50));
  });

  test('a failing model gives back all, with each retry', async () => {
    const { model, used } = setUp();
    const sent = provider.requests;
    const call = { model, prompt: 'fail', maxOutputTokens: 50 };
    await expect(ai.generateText({ ...call, maxRetries: 1 })).rejects.toThrow(
      'Failed after 2 attempts',
    );
    expect(provider.requests).toBe(sent + 2);
    expect((await readText(call)).error).toBeDefined();
    expect(await used()).toEqual(NOTHING);
  });

  test('a stream pays in steps, and fails where the budget ends', async () => {
    const budget = 18 + 15 * 100;
    const { model, used } = setUp(budget, { cost: () => ({ tokens: 26, micros: 18 + 15 * 20 }) });
    const { text, error } = await readText({ model, prompt: PROMPT, maxOutputTokens: 50_000 });
    expect(error).toBeInstanceOf(RateLimitExceeded);
    const words = text.length / 'word '.length;
    expect(words).toBeGreaterThan(20);
    expect(words).toBeLessThanOrEqual(100);
    const { budget: charged } = await used();
    expect(charged).toBeGreaterThanOrEqual(18 + 15 * words);
    expect(charged).toBeLessThanOrEqual(budget);
    await providerStops(provider);
  });

  test('a stream that is aborted is charged what came', async () => {
    const { model, used } = setUp();
    const client = new AbortController();
    const call = { model, prompt: PROMPT, maxOutputTokens: 500, abortSignal: client.signal };
    await readText(call, 'word '.length * 30);
    client.abort();
    await eventually(async () => expect((await used())['tokens']).toBeLessThan(506));
    expect((await used())['tokens']).toBeGreaterThanOrEqual(6 + 30);
  });

  test('identify and cost get the call', async () => {
    const calls: ModelCall[] = [];
    const { model } = setUp(100_000, {
      identify: (call) => {
        calls.push(call);
        return { org: 'acme' };
      },
    });
    await ai.generateText({ model, prompt: PROMPT, maxOutputTokens: 50 });
    expect(calls).toMatchObject([
      {
        type: 'generate',
        modelId: 'words',
        provider: 'words.chat',
        params: { maxOutputTokens: 50 },
        estimate: { inputTokens: 6, outputTokens: 50 },
      },
    ]);
  });
});

test.each(MAJORS)('fits the type of a language model middleware of AI SDK %i', (major) => {
  const program = mkdtempSync(path.join(folderOf(major), '.snippets-'));
  onTestFinished(() => rmSync(program, { recursive: true, force: true }));
  const source = path.relative(program, path.join(root, 'src')).replaceAll(path.sep, '/');
  writeFileSync(
    path.join(program, 'program.ts'),
    `
    import { wrapLanguageModel } from 'ai';
    import type { LanguageModel, LanguageModelMiddleware } from 'ai';
    import { limitMiddleware } from '${source}/fetch/index.ts';
    import { MemoryStore, RateLimiter, tokenBucket } from '${source}/index.ts';
    declare const model: Parameters<typeof wrapLanguageModel>[0]['model'];
    const limits = [tokenBucket({ by: 'org', unit: 'tokens', rate: 1, period: '1m' })];
    const limiter = new RateLimiter({ store: new MemoryStore(), limits });
    const middleware = limitMiddleware(limiter, { identify: { org: 'acme' } });
    export const wrapped: LanguageModel = wrapLanguageModel({ model, middleware });
    export const same: LanguageModelMiddleware = middleware;
    // @ts-expect-error: the limits count by org
    limitMiddleware(limiter, { identify: { user: 'anna' } });
    // @ts-expect-error: no limit counts micros
    limitMiddleware(limiter, { identify: { org: 'acme' }, settle: () => ({ micros: 1 }) });
    `,
  );
  writeFileSync(
    path.join(program, 'tsconfig.json'),
    JSON.stringify({
      extends: path.relative(program, path.join(root, 'tsconfig.json')),
      compilerOptions: { noEmit: true, skipLibCheck: true, noUnusedLocals: false },
      include: ['program.ts'],
    }),
  );
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', program, '--pretty', 'false'],
    { encoding: 'utf8' },
  );
  expect(`${stdout}${stderr}`).toBe('');
});
