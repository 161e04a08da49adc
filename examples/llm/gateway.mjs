/** A gateway before a provider of language models, limited by requests, tokens and money. */
import { createServer } from 'node:http';
import process from 'node:process';
import { json } from 'node:stream/consumers';
import { RateLimiter } from 'distributed-rate-limiter';
import { run } from '../shared/node-server.mjs';
import { place } from '../shared/place.mjs';
import { limits } from './limits.mjs';
import { startProvider } from './provider.mjs';

/**
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {{ choices: object[], usage?: { completion_tokens: number } }} Chunk
 */

// Money is not guessed: without Redis nothing passes.
const limiter = new RateLimiter({ ...place, namespace: 'llm', limits, failStrategy: 'closed' });

const providerUrl = process.env['PROVIDER_URL'] ?? (await startProvider()).url;

/** Millionths of a dollar per token. */
const PRICE = { prompt: 3, completion: 15 };
/** Tokens of an answer that are paid for before they come. */
const STEP = 200;

/**
 * @param {Request} request
 * @param {Response} response
 */
async function complete(request, response) {
  const [org = '', key = ''] = (request.headers.authorization ?? '')
    .slice('Bearer '.length)
    .split('.');
  const asked = /** @type {{ messages: { content: string }[] }} */ (await json(request));
  const prompt = tokensOf(asked.messages.map(({ content }) => content).join(' '));
  /** @param {number} completion */
  const costOf = (completion) => ({
    tokens: prompt + completion,
    micros: prompt * PRICE.prompt + completion * PRICE.completion,
  });

  // One request, the prompt, and the first step of the answer: under all limits or none.
  const call = await limiter.reserve({ org, key }, { cost: costOf(STEP), ttl: '10m' });
  if (!call.allowed) {
    refuse(response, call);
    return;
  }

  const upstream = new AbortController();
  response.on('close', () => upstream.abort());
  let completion = 0;
  let paid = STEP;
  try {
    const answer = await fetch(`${providerUrl}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...asked, stream: true, stream_options: { include_usage: true } }),
      signal: upstream.signal,
    });
    if (!answer.ok || answer.body === null)
      throw new Error(`The provider answered ${answer.status}.`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for await (const chunk of chunksOf(answer.body)) {
      completion = chunk.usage?.completion_tokens ?? completion + 1;
      if (completion > paid) {
        const more = await call.add({ tokens: STEP, micros: STEP * PRICE.completion });
        if (!more.allowed) {
          // The provider stops, too, so nothing more is paid.
          upstream.abort();
          response.write(`event: error\ndata: ${JSON.stringify({ error: 'rate_limited' })}\n\n`);
          break;
        }
        paid += STEP;
      }
      response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    }
    response.end();
  } catch {
    // The provider failed, or the client left.
    if (!response.headersSent) response.writeHead(502);
    response.end();
  } finally {
    // By the provider's report, or as counted until then. Nothing if nothing came.
    await (completion === 0 ? call.cancel() : call.settle(costOf(completion)));
  }
}

/**
 * @param {Response} response
 * @param {import('distributed-rate-limiter').Decision} decision
 */
function refuse(response, decision) {
  const status = { impossible: 413, limited: 429 }[/** @type {string} */ (decision.reason)] ?? 503;
  const by = 'limitedBy' in decision ? decision.limitedBy : [];
  if (decision.retryAfterMs !== undefined) {
    response.setHeader('retry-after', Math.ceil(decision.retryAfterMs / 1_000));
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: decision.reason, limits: by }));
}

/**
 * A rough count. A tokenizer counts better; `settle` corrects either.
 *
 * @param {string} text
 */
function tokensOf(text) {
  return text.split(/\s+/).length;
}

/**
 * The provider's events, one after another.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<Chunk>}
 */
async function* chunksOf(body) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('data: {')) yield JSON.parse(line.slice('data: '.length));
    }
  }
}

const server = createServer((request, response) => {
  complete(request, response).catch(() => response.destroy());
});
await run(server, limiter);
