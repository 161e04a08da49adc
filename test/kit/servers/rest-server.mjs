// @ts-check
import { createServer } from 'node:http';
import { once } from 'node:events';
import { openResp, RespError } from './resp.mjs';

const TOKEN = 'a-token';

/** @typedef {{ result: unknown } | { error: string }} Answer */

/**
 * An HTTP server in front of a Redis server that speaks the REST protocol of Upstash: a command is the body of a POST,
 * commands of a pipeline that of a POST to `/pipeline`. A test may answer requests in its place.
 */
class RestServer {
  /** The commands of each request, in order. @type {(readonly (readonly string[])[])[]} */
  requests = [];
  /** Answers the next requests, one each, in place of Redis. @type {{ status: number, body: string }[]} */
  instead = [];
  /** How many of the next responses are lost after Redis has run the command. */
  lost = 0;
  token = TOKEN;
  #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });
  #redis;

  /** @param {Awaited<ReturnType<typeof openResp>>} redis */
  constructor(redis) {
    this.#redis = redis;
  }

  get port() {
    return /** @type {import('node:net').AddressInfo} */ (this.#server.address()).port;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close() {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#redis.close();
  }

  /**
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async #answer(request, response) {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    /** @param {number} status @param {string} body */
    const reply = (status, body) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      reply(401, '{"error":"WRONGPASS invalid or missing auth token"}');
      return;
    }
    const isPipeline = request.url === '/pipeline';
    /** @type {readonly (readonly string[])[]} */
    const commands = isPipeline ? JSON.parse(text) : [JSON.parse(text)];
    this.requests.push(commands);
    const other = this.instead.shift();
    if (other !== undefined) {
      reply(other.status, other.body);
      return;
    }
    const encoded = request.headers['upstash-encoding'] === 'base64';
    const answers = await Promise.all(commands.map((command) => this.#run(command, encoded)));
    if (this.lost > 0) {
      this.lost -= 1;
      response.destroy();
    } else if (isPipeline) {
      reply(200, JSON.stringify(answers));
    } else {
      const [answer = {}] = answers;
      reply('error' in answer ? 400 : 200, JSON.stringify(answer));
    }
  }

  /**
   * @param {readonly string[]} command
   * @param {boolean} encoded
   * @returns {Promise<Answer>}
   */
  async #run(command, encoded) {
    try {
      const result = await this.#redis.command(...command);
      return { result: encoded ? encode(result) : result };
    } catch (error) {
      if (!(error instanceof RespError)) throw error;
      return { error: error.message };
    }
  }
}

/**
 * Strings in base64, as the client asks for by default.
 *
 * @param {unknown} value
 * @returns {unknown}
 */
function encode(value) {
  if (Array.isArray(value)) return value.map(encode);
  return typeof value === 'string' && value !== 'OK'
    ? Buffer.from(value).toString('base64')
    : value;
}

/**
 * @param {{ host: string, port: number }} redis
 * @returns {Promise<RestServer>}
 */
export async function startRestServer(redis) {
  const server = new RestServer(await openResp(redis));
  await server.listen();
  return server;
}
