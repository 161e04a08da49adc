/**
 * A stand-in for a provider of language models. It speaks the streaming protocol of chat completions: server-sent
 * events, a report of what was used, `[DONE]`. It answers `max_tokens` words, and each word is a token.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/** Serves on a free port. `sent` counts the tokens that it generated, whether a client read them or not. */
export async function startProvider({ msPerToken = 1 } = {}) {
  const provider = { url: '', sent: 0, close };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async function answer(request, response) {
    const { messages, max_tokens: most } =
      /** @type {{ messages: { content: string }[], max_tokens: number }} */ (await json(request));
    const prompt = messages.map(({ content }) => content).join(' ');
    if (prompt === 'fail') {
      response.writeHead(503).end();
      return;
    }
    /** @param {object} data */
    const send = (data) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let word = 0; word < most && !response.destroyed; word++) {
      send({ choices: [{ delta: { content: 'word ' } }] });
      provider.sent += 1;
      await sleep(msPerToken);
    }
    const usage = { prompt_tokens: prompt.split(/\s+/).length, completion_tokens: most };
    send({ choices: [], usage });
    response.end('data: [DONE]\n\n');
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
