/**
 * A stand-in for a provider of language models. It speaks chat completions and Anthropic's messages, as one JSON answer
 * or as server-sent events, and reports what was used. It answers as many words as the request allows, and each word is
 * a token. The prompt `fail` is refused with 503, and `break` ends an answer in its middle.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 * @typedef {{
 *   messages: { content: string | { text: string }[] }[],
 *   max_tokens: number,
 *   stream?: boolean,
 *   stream_options?: { include_usage?: boolean },
 * }} Asked
 * @typedef {{ prompt: number, answer: number }} Used
 */

/** How each protocol writes an answer. */
const PROTOCOLS = {
  '/v1/chat/completions': {
    /** @param {string} text @param {Used} used */
    whole: (text, used) => ({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 0,
      model: 'words',
      choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
      usage: usageOf(used),
    }),
    begin: () => [],
    /** @param {string} word */
    piece: (word) => ({ choices: [{ index: 0, delta: { content: word } }] }),
    /** @param {Used} used @param {Asked} asked */
    end: (used, { stream_options: options }) => [
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      ...(options?.include_usage === true ? [{ choices: [], usage: usageOf(used) }] : []),
    ],
    last: 'data: [DONE]\n\n',
  },
  '/v1/messages': {
    /** @param {string} text @param {Used} used */
    whole: (text, used) => ({
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text }],
      usage: { input_tokens: used.prompt, output_tokens: used.answer },
    }),
    /** @param {number} prompt */
    begin: (prompt) => [
      {
        type: 'message_start',
        message: { role: 'assistant', usage: { input_tokens: prompt, output_tokens: 1 } },
      },
    ],
    /** @param {string} word */
    piece: (word) => ({
      type: 'content_block_delta',
      index: 0,
      delta: { type: 'text_delta', text: word },
    }),
    /** @param {Used} used */
    end: (used) => [
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: { output_tokens: used.answer },
      },
      { type: 'message_stop' },
    ],
    last: '',
  },
};

/** @param {Used} used */
function usageOf({ prompt, answer }) {
  return { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer };
}

/** Serves on a free port. `sent` counts the tokens that it generated, whether a client read them or not. */
export async function startProvider({ msPerToken = 1 } = {}) {
  const provider = { url: '', sent: 0, requests: 0, close };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  /**
   * @param {Request} request
   * @param {Response} response
   */
  async function answer(request, response) {
    provider.requests += 1;
    const asked = /** @type {Asked} */ (await json(request));
    const { url = '' } = request;
    const protocol =
      url in PROTOCOLS
        ? PROTOCOLS[/** @type {keyof typeof PROTOCOLS} */ (url)]
        : PROTOCOLS['/v1/chat/completions'];
    const most = asked.max_tokens;
    const prompt = asked.messages.map(({ content }) => textOf(content)).join(' ');
    const used = { prompt: prompt.split(/\s+/).length, answer: most };
    if (prompt === 'fail') {
      response.writeHead(503, { 'content-type': 'application/json' }).end('{"error":{}}');
      return;
    }
    if (asked.stream !== true) {
      provider.sent += most;
      const text = JSON.stringify(protocol.whole('word '.repeat(most), used));
      response.writeHead(200, { 'content-type': 'application/json' });
      if (prompt === 'break') {
        response.write(text.slice(0, text.length / 2), () => response.destroy());
      } else {
        response.end(text);
      }
      return;
    }
    /** @param {object | { type: string }} data */
    const send = (data) =>
      response.write(
        `${'type' in data ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`,
      );
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    protocol.begin(used.prompt).forEach(send);
    for (let word = 0; word < most && !response.destroyed; word++) {
      if (prompt === 'break' && word >= most / 2) {
        response.destroy();
        return;
      }
      send(protocol.piece('word '));
      provider.sent += 1;
      await sleep(msPerToken);
    }
    protocol.end(used, asked).forEach(send);
    response.end(protocol.last);
  }

  async function close() {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  provider.url = `http://127.0.0.1:${port}`;
  return provider;
}

/** @param {string | { text: string }[]} content */
function textOf(content) {
  return typeof content === 'string' ? content : content.map(({ text }) => text).join(' ');
}
