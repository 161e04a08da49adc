import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';

/** The responses to so many requests, sent one after another, each over a connection of its own. */
export async function ask(
  times: number,
  url: string,
  init: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Response[]> {
  const responses: Response[] = [];
  for (let i = 0; i < times; i++) {
    responses.push(
      await fetch(url, { ...init, headers: { ...init.headers, connection: 'close' } }),
    );
  }
  return responses;
}

export const statusesOf = (responses: readonly Response[]): number[] =>
  responses.map(({ status }) => status);

/** The answer to a request from another address of the loopback network, `127.0.0.2` for example. */
export async function askFrom(
  localAddress: string,
  url: string,
  headers: Record<string, string> = {},
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  const asked = request(url, { localAddress, headers, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: response.statusCode, body: await text(response) };
}
