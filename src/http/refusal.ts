import type { Decision } from '../decision.ts';
import type { HeaderFields } from './headers.ts';

/** The response that a guard is about to send in place of the route's own. */
export interface Refusal {
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
  status?: number;
  /** Beside the guard's own fields, or in their place where they have the same name. */
  headers?: Readonly<Record<string, string>>;
  /** Text, or what is to be sent as `application/json`. */
  body?: string | object;
}

/** The response with what the application has put in its place. */
export function replace(
  { status, headers, body }: Refusal,
  given: Replacement,
): { status: number; headers: HeaderFields; body: string } {
  const fields = new Map(headers.map(([name, value]) => [name.toLowerCase(), [name, value]]));
  if (typeof given.body === 'object') {
    fields.set('content-type', ['Content-Type', 'application/json']);
  } else if (given.body !== undefined) {
    fields.set('content-type', ['Content-Type', 'text/plain; charset=utf-8']);
  }
  for (const [name, value] of Object.entries(given.headers ?? {})) {
    fields.set(name.toLowerCase(), [name, value]);
  }
  return {
    status: given.status ?? status,
    headers: [...fields.values()] as unknown as HeaderFields,
    body: typeof given.body === 'object' ? JSON.stringify(given.body) : (given.body ?? body),
  };
}
