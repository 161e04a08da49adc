import type { Decision } from '../base/decision.ts';
import type { FieldRecord, HeaderFields } from './application-fields.ts';

/** The response that a guard is about to send instead of the route's own. */
export interface RefusalResponse {
  /**
   * 429: over a limit, or blocked. 503: not decided by the store, under `failStrategy: 'closed'`. 403: under a limit
   * whose `rate` is 0. 400: no usable identity.
   */
  readonly status: 429 | 503 | 403 | 400;
  readonly headers: HeaderFields;
  /** A problem of RFC 9457, as JSON; with `negotiate` also a page of HTML or plain text, by the request's `Accept`. */
  readonly body: string;
  /** Undefined for status 400: there was no identity to decide on. */
  readonly decision: Decision | undefined;
  /**
   * True if the request would have waited, but as many of its identity wait as `wait.maxQueue` allows. `decision` is
   * then the last refusal that one of these got; absent otherwise.
   */
  readonly isQueueFull?: true;
}

/** The response to send instead of a guard's own. Omitted parts stay as they are. */
export interface Replacement {
  /** The HTTP status, from 200 to 599. */
  status?: number;
  /**
   * Added to the guard's own fields; a field of the same name replaces it. Numbers are written in digits, undefined
   * values are left out.
   */
  headers?: FieldRecord;
  /** Text, or an object to send as `application/json`. */
  body?: string | object;
}

/** The result of `onRefused`: another response, `'default'` for the guard's own, or `'throw'` for the framework's. */
export type OnRefused = Replacement | Response | 'default' | 'throw' | undefined | void;

/** Reads a web `Response` into plain values. */
export async function readReplacement(response: Response): Promise<Replacement> {
  const { status, headers } = response;
  return { status, headers: Object.fromEntries(headers), body: await response.text() };
}

/** HTTP has no body in responses of these statuses. */
const BODILESS: readonly number[] = [204, 205, 304];

/**
 * Applies the application's replacement to the response; `added` are the replacement's fields, already read.
 *
 * @throws {TypeError} for a status or a body that cannot be sent
 */
export function replace(
  refusal: RefusalResponse,
  given: Replacement,
  added: HeaderFields,
): { status: number; headers: HeaderFields; body: string } {
  if (typeof given !== 'object') {
    throw new TypeError("It must be { status, headers, body }, a Response, 'default' or 'throw'.");
  }
  const { status = refusal.status, body } = given;
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new TypeError('`status` must be from 200 to 599.');
  }
  const text = body === undefined ? refusal.body : typeof body === 'string' ? body : toJson(body);
  const fields = new Map(
    refusal.headers.map((field): [string, HeaderFields[number]] => [field[0].toLowerCase(), field]),
  );
  if (body !== undefined) {
    const type = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json';
    fields.set('content-type', ['Content-Type', type]);
  }
  for (const field of added) {
    fields.set(field[0].toLowerCase(), field);
  }
  return {
    status,
    headers: [...fields.values()],
    body: BODILESS.includes(status) ? '' : text,
  };
}

function toJson(body: unknown): string {
  const text = typeof body === 'object' ? JSON.stringify(body) : undefined;
  if (text === undefined) {
    throw new TypeError('`body` must be text or JSON.');
  }
  return text;
}
