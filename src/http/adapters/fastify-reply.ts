import type { ServerResponse } from 'node:http';
import type { HeaderFields } from '../application-fields.ts';
import type { Verdict } from '../guard.ts';
import { joinsList } from '../headers.ts';
import { isUnanswered } from '../request-end.ts';
import { letPass } from './node-response.ts';

/** The used part of Fastify's reply. */
export interface ReplyLike {
  readonly raw: ServerResponse;
  /** Whether it was sent, or taken over by `hijack`. */
  readonly sent: boolean;
  getHeader(name: string): unknown;
  header(name: string, value: string): unknown;
  code(status: number): unknown;
  serializer(serialize: (payload: unknown) => string): unknown;
  send(payload: string): unknown;
}

/** Writes a verdict to a reply, and returns whether the request goes on. A late verdict is not written. */
export function obey(verdict: Verdict, reply: ReplyLike): boolean {
  if (verdict.pass) {
    return letPass(verdict, reply.raw, (fields) => addFields(fields, reply));
  }
  if (!reply.sent && isUnanswered(reply.raw)) {
    addFields(verdict.headers, reply);
    reply.code(verdict.status);
    // JSON has no charset, but Fastify would add one to a text type that it takes for JSON.
    reply.serializer(asItIs);
    reply.send(verdict.body);
  }
  return false;
}

export function addFields(fields: HeaderFields, reply: ReplyLike): void {
  for (const [name, value] of fields) {
    // A field of the reply replaces that of its raw response, which Nest's middleware writes to.
    const present = joinsList(name, value)
      ? (reply.getHeader(name) ?? reply.raw.getHeader(name))
      : undefined;
    reply.header(name, present === undefined ? value : `${present as string}, ${value}`);
  }
}

function asItIs(payload: unknown): string {
  return payload as string;
}
