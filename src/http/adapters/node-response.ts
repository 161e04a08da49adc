import type { AddressSource } from '../address/client-address.ts';
import type { Adapter, Pass, Verdict } from '../guard.ts';
import { joinsList } from '../headers.ts';
import type { HeaderFields } from '../application-fields.ts';
import { isOver, isUnanswered, whenEnded } from '../request-end.ts';
import type { NodeResponse } from '../request-end.ts';
import { fieldsOfError } from '../thrown-refusal.ts';

/** For requests that are Node's own, whatever is added to them. */
export function nodeAdapter(factory: Function): Adapter<unknown> {
  return {
    addressOf: (request) => request as AddressSource,
    requestOf: (request) => request,
    factory,
  };
}

/**
 * Writes a verdict to a response of Node's. Says whether the request goes on. A verdict that comes too late, because
 * the application has answered meanwhile, is not written.
 */
export function obey(verdict: Verdict, response: NodeResponse): boolean {
  if (verdict.pass) {
    return letPass(verdict, response);
  }
  if (isUnanswered(response)) {
    response.statusCode = verdict.status;
    writeFields(verdict.headers, response);
    response.setHeader('Content-Length', Buffer.byteLength(verdict.body));
    response.end(verdict.body);
  }
  return false;
}

/**
 * Listens for the response's end, then writes the fields, unless the head is out. Says whether the request goes on: not
 * where its response is over, because nobody would get the handler's answer.
 */
export function letPass(
  { headers, finish }: Pass,
  response: NodeResponse,
  write: (fields: HeaderFields, response: NodeResponse) => void = writeFields,
): boolean {
  if (finish !== undefined) {
    whenEnded(response, finish);
  }
  if (isOver(response)) {
    return false;
  }
  if (!response.headersSent) {
    try {
      write(headers, response);
    } catch (error) {
      finish?.('aborted');
      throw error;
    }
  }
  return true;
}

/** Adds the fields of a refusal that goes to the framework's error handling; of other errors nothing. */
export function writeFieldsOfError(error: unknown, response: NodeResponse): void {
  if (!response.headersSent) {
    writeFields(fieldsOfError(error), response);
  }
}

/** Adds fields to a response of Node's; lists join what other limiters wrote. */
export function writeFields(fields: HeaderFields, response: NodeResponse): void {
  for (const [name, value] of fields) {
    const present = joinsList(name, value) ? response.getHeader(name) : undefined;
    response.setHeader(name, present === undefined ? value : `${String(present)}, ${value}`);
  }
}
