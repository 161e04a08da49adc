import type { Outcome, Refuse } from './guard.ts';
import { joinsList } from './headers.ts';
import type { HeaderFields } from './headers.ts';

/** The response that refuses. */
export function refusalOf({ status, headers, body }: Refuse): Response {
  return new Response(body, { status, headers: Object.fromEntries(headers) });
}

/** Tells of a client that goes away before the response is there, or has gone already. */
export function whenAborted(request: Request, finish: (outcome: Outcome) => void): void {
  const { signal } = request;
  if (signal.aborted) {
    finish('aborted');
  } else {
    signal.addEventListener('abort', () => finish('aborted'), { once: true });
  }
}

/** A response with these fields; a new one where its own are immutable, as those of a redirect or of `fetch` are. */
export function withFields(response: Response, fields: HeaderFields): Response {
  if (fields.length === 0 || !isCopiable(response)) {
    return response;
  }
  try {
    addFields(response.headers, fields);
    return response;
  } catch (error) {
    if (!(error instanceof TypeError)) {
      throw error;
    }
  }
  const copy = new Response(response.body, response);
  addFields(copy.headers, fields);
  return copy;
}

/** The limiters whose fields stand there already are inner ones: their items come after. */
function addFields(headers: Headers, fields: HeaderFields): void {
  for (const [name, value] of fields) {
    const present = joinsList(name, value) ? headers.get(name) : null;
    headers.set(name, present === null ? value : `${value}, ${present}`);
  }
}

/** A network error (status 0) and an upgrade (101) have neither fields nor a body, and cannot be made anew. */
function isCopiable({ status }: Response): boolean {
  return status >= 200;
}

/** The same response; tells when its body has been read to its end, has failed, or is no longer wanted. */
export function watch(
  response: Response,
  { method }: Request,
  finish: (outcome: Outcome) => void,
): Response {
  const { body, status } = response;
  // The body of an answer to HEAD is dropped unread; one that somebody else reads fails where it is sent.
  if (body === null || body.locked || method === 'HEAD' || !isCopiable(response)) {
    finish(status);
    return response;
  }
  return new Response(watchedBody(body, status, finish), response);
}

/** A body that is dropped unread, by what replaced the response, is never told of in another way. */
const dropped = new FinalizationRegistry<(outcome: Outcome) => void>((finish) => finish('aborted'));

/** The same bytes, read no sooner than somebody asks for them. */
function watchedBody(
  body: NonNullable<Response['body']>,
  status: number,
  finish: (outcome: Outcome) => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const watched = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            controller.close();
            finish(status);
          } else {
            controller.enqueue(value);
          }
        } catch (error) {
          finish('aborted');
          throw error;
        }
      },
      async cancel(reason) {
        finish('aborted');
        await reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  dropped.register(watched, finish);
  return watched;
}
