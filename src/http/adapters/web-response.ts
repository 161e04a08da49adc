import type { Refused } from '../guard.ts';
import { joinsList } from '../headers.ts';
import type { HeaderFields } from '../application-fields.ts';
import type { Finish } from '../request-end.ts';

/** Statuses whose responses have no body, not even an empty one. */
const BODILESS: readonly number[] = [204, 205, 304];

/** The response that refuses. */
export function makeResponse(refused: Refused): Response {
  const { status, headers } = refused;
  return new Response(bodyOf(refused), { status, headers: Object.fromEntries(headers) });
}

export function bodyOf({ status, body }: Refused): string | null {
  return BODILESS.includes(status) ? null : body;
}

/** For a client that has gone: nobody reads it, but a handler's caller wants one. */
export function unreadResponse(): Response {
  return new Response(null, { status: 499 });
}

/** Tells of a client that goes away before the response is there. False: it has gone already, and that was told. */
export function whenAborted(request: Request, finish: Finish): boolean {
  // What stands in for a request may have no signal.
  const { signal } = (request ?? {}) as Partial<Request>;
  if (signal?.aborted === true) {
    finish('aborted');
    return false;
  }
  signal?.addEventListener('abort', () => finish('aborted'), { once: true });
  return true;
}

/** Whether it is a response, of whatever realm or library. */
export function isResponse(value: unknown): value is Response {
  const { status, headers } = (value ?? {}) as Partial<Response>;
  return typeof status === 'number' && typeof headers?.get === 'function';
}

/** A response with these fields; a new one where its own are immutable, as those of a redirect or of `fetch` are. */
export function withFields(
  response: Response,
  fields: HeaderFields,
  add: (headers: Headers, fields: HeaderFields) => void = addFields,
): Response {
  if (fields.length === 0 || !isCopiable(response)) {
    return response;
  }
  try {
    add(response.headers, fields);
    return response;
  } catch (error) {
    if (!(error instanceof TypeError)) {
      throw error;
    }
  }
  const copy = new Response(response.body, response);
  add(copy.headers, fields);
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
export function watch(response: Response, request: Request, finish: Finish): Response {
  const { body, status } = response;
  // The body of an answer to HEAD is dropped unread; one that somebody else reads fails where it is sent; another
  // library's may be no stream of the web's.
  const isUnseen =
    body === null ||
    body.locked ||
    typeof body.getReader !== 'function' ||
    request?.method === 'HEAD' ||
    !isCopiable(response);
  if (isUnseen) {
    finish(status);
    return response;
  }
  return new Response(watchedBody(body, status, finish), response);
}

/** A body that is dropped unread, by what replaced the response, is never told of in another way. */
const dropped = new FinalizationRegistry<Finish>((finish) => finish('aborted'));

/** The same bytes, read no sooner than somebody asks for them. */
function watchedBody(
  body: NonNullable<Response['body']>,
  status: number,
  finish: Finish,
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
