import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { responseOn } from './framework.ts';
import type { Answer, Framework, Served } from './framework.ts';

/** How to read a request of Node's, for every framework that passes one on. */
export const nodeRequest: Pick<Framework<IncomingMessage>, 'header' | 'method' | 'responseOf'> = {
  header: (request, name) => request.headers[name] as string | undefined,
  method: (request) => request.method!,
  responseOf: responseOn,
};

/** Writes a response; writes a body in pieces as they come, while the client reads. */
export async function send({ status, body }: Answer, response: ServerResponse): Promise<void> {
  response.statusCode = status;
  if (typeof body === 'string') {
    response.end(body);
    return;
  }
  for await (const piece of body) {
    if (response.destroyed) return;
    response.write(piece);
  }
  response.end();
}

export async function listen(server: Server): Promise<Served> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
