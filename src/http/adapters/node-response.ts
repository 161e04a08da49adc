import type { AddressSource } from '../address/client-address.ts';
import type { Adapter, Pass, Verdict } from '../guard.ts';
import { joinsList } from '../headers.ts';
import type { HeaderFields } from '../application-fields.ts';
import { isOver, isUnanswered, whenEnded } from '../request-end.ts';
import type { NodeResponse } from '../request-end.ts';
import { fieldsOfError } from '../thrown-refusal.ts';

/** Makes the adapter for Node's own requests, with or without a framework's additions. */
export function nodeAdapter(factory: Function): Adapter<unknown> {
  return {
    addressOf: (request) => request as AddressSource,
    requestOf: (request) => request,
    factory,
  };
}

/**
 * Writes a verdict to a Node response, and returns whether the request goes on. If the application has already
 * answered, nothing is written.
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
 * Listens for the response's end, then writes the fields, unless the head has been sent. Returns whether the request
 * goes on: false if its response is over, because a handler's answer would be lost.
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

/** Adds the fields of a refusal that goes to the framework's error handling; other errors have none. */
export function writeFieldsOfError(error: unknown, response: NodeResponse): void {
  if (!response.headersSent) {
    writeFields(fieldsOfError(error), response);
  }
}

/** Adds fields to a Node response; lists join those that other limiters wrote. */
export function writeFields(fields: HeaderFields, response: NodeResponse): void {
  for (const [name, value] of fields) {
    const present = joinsList(name, value) ? response.getHeader(name) : undefined;
    response.setHeader(name, present === undefined ? value : `${String(present)}, ${value}`);
  }
}
