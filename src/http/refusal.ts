import type { Decision } from '../base/decision.ts';
import type { FieldRecord, HeaderFields } from './application-fields.ts';

/** The response that a guard is about to send in place of the route's own. */
export interface RefusalResponse {
  /** 429: over a limit, or blocked. 503: not decided by the store, under `failStrategy: 'closed'`. 400: nobody to limit. */
  readonly status: 429 | 503 | 400;
  readonly headers: HeaderFields;
  /** A problem of RFC 9457, as JSON. */
  readonly body: string;
  /** Undefined where there was nobody to decide on: status 400. */
  readonly decision: Decision | undefined;
}

/** What to send in place of a guard's own response. What is left out stays as it was. */
export interface Replacement {
  /** From 200 to 599. */
  status?: number;
  /**
   * Beside the guard's own fields, or in their place where they have the same name. Numbers are written in digits,
   * undefined values are left out.
   */
  headers?: FieldRecord;
  /** Text, or what is to be sent as `application/json`. */
  body?: string | object;
}

/** What `onRefused` may return: another answer, `'default'` for the guard's own, or `'throw'` for the framework's. */
export type OnRefused = Replacement | Response | 'default' | 'throw' | undefined | void;

/** A web `Response` as plain values. */
export async function readReplacement(response: Response): Promise<Replacement> {
  const { status, headers } = response;
  return { status, headers: Object.fromEntries(headers), body: await response.text() };
}

/** HTTP has no body in responses of these statuses. */
const BODILESS: readonly number[] = [204, 205, 304];

/**
 * The response with what the application has put in its place; `added` are its fields, once they are read.
 *
 * @throws {TypeError} where the status or the body cannot be sent
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
