import { ReadableStream } from 'node:stream/web';
import { getRequestListener } from '@hono/node-server';
import type { RequestListener } from 'node:http';
import type { Answer, ErrorHandling } from './framework.ts';

/** Serves a web-standard handler on a server of Node's; answers its errors with 500. */
export function listenerOf(
  fetch: Parameters<typeof getRequestListener>[0],
  errors?: ErrorHandling,
): RequestListener {
  const listener = getRequestListener(fetch, {
    errorHandler: (error) => {
      const { getResponse } = error as { getResponse?: () => Response };
      return errors === 'as the error says' && getResponse !== undefined
        ? getResponse()
        : new Response('broken', { status: 500 });
    },
  });
  return (incoming, outgoing) => void listener(incoming, outgoing);
}

/** A handler's answer as a web Response; a body in pieces is read as it is sent. */
export function toResponse({ status, body }: Answer): Response {
  if (typeof body === 'string') {
    return new Response(body, { status });
  }
  const pieces = body[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done === true) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
  });
  return new Response(stream, { status });
}
