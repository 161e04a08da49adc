import type { Refused } from '../guard.ts';
import { joinsList } from '../headers.ts';
import type { HeaderFields } from '../application-fields.ts';
import type { Finish } from '../request-end.ts';

/** Statuses whose responses have no body, not even an empty one. */
const BODILESS: readonly number[] = [204, 205, 304];

/** Makes the response of a refusal. */
export function makeResponse(refused: Refused): Response {
  const { status, headers } = refused;
  return new Response(bodyOf(refused), { status, headers: Object.fromEntries(headers) });
}

export function bodyOf({ status, body }: Refused): string | null {
  return BODILESS.includes(status) ? null : body;
}

/** Makes a response for a client that has gone: it is never read, but the handler's caller expects one. */
export function unreadResponse(): Response {
  return new Response(null, { status: 499 });
}

/**
 * Calls `finish` when the client goes away before the response. Returns false if the client has already gone and
 * `finish` was called.
 */
export function whenAborted(request: Request, finish: Finish): boolean {
  // A substitute for a request may have no signal.
  const { signal } = (request ?? {}) as Partial<Request>;
  if (signal?.aborted === true) {
    finish('aborted');
    return false;
  }
  signal?.addEventListener('abort', () => finish('aborted'), { once: true });
  return true;
}

/** Whether the value is a response, of any realm or library. */
export function isResponse(value: unknown): value is Response {
  const { status, headers } = (value ?? {}) as Partial<Response>;
  return typeof status === 'number' && typeof headers?.get === 'function';
}

/**
 * Returns a response with these fields: a new one if its own are immutable, as in a redirect or a result of `fetch`.
 */
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

/** Fields already present are those of inner limiters: their items come after. */
function addFields(headers: Headers, fields: HeaderFields): void {
  for (const [name, value] of fields) {
    const present = joinsList(name, value) ? headers.get(name) : null;
    headers.set(name, present === null ? value : `${value}, ${present}`);
  }
}

/** A network error (status 0) and an upgrade (101) have neither fields nor a body, and cannot be copied. */
function isCopiable({ status }: Response): boolean {
  return status >= 200;
}

/**
 * Returns the same response, and calls `finish` when its body has been read to its end, has failed, or was cancelled.
 */
export function watch(response: Response, request: Request, finish: Finish): Response {
  const { body, status } = response;
  // The body of an answer to HEAD is dropped unread; a body that other code reads fails when it is sent; another
  // library's body may be no web stream.
  const isUnseen =
    body === null ||
    body.locked ||
    typeof body.getReader !== 'function' ||
    request?.method === 'HEAD' ||
    !isCopiable(response);
  if (isUnseen) {
    finish(status, response);
    return response;
  }
  const finishWith: Finish = (end) => finish(end, response);
  return new Response(watchedBody(body, status, finishWith), response);
}

/** A body that is dropped unread, because its response was replaced, sends no other event. */
const dropped = new FinalizationRegistry<Finish>((finish) => finish('aborted'));

/** Passes on the same bytes, read only on demand. */
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
