import type { ServerResponse } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { optionError } from '../../../base/errors.ts';
import type { RateLimiterError } from '../../../base/errors.ts';
import type { Verdict } from '../../guard.ts';
import type { HeaderFields } from '../../application-fields.ts';
import { isPage } from '../../refusal-page.ts';
import { obey as obeyReply } from '../fastify-reply.ts';
import { letPass, obey as obeyNode, writeFields, writeFieldsOfError } from '../node-response.ts';
import { isUnanswered, whenEnded } from '../../request-end.ts';
import { readCall } from './call.ts';
import type { HandlerCall } from './call.ts';
import { isJson, jsonTypeOf, RateLimitException } from './exception.ts';
import { RouteGuards } from './route-guards.ts';
import type { RouteGuard } from './route-guards.ts';

/**
 * Limits the routes that it is bound to. `RateLimitModule` binds it to the whole application; with `global: false` it
 * limits routes with `@UseGuards(RateLimitGuard)`. A call that reaches it twice is decided once.
 *
 * @throws (rejects) `RateLimitException` for a refused call
 * @example
 * ```ts
 * @UseGuards(RateLimitGuard)
 * @Controller('reports')
 * class ReportsController {}
 * ```
 */
export class RateLimitGuard implements CanActivate {
  readonly #routes: RouteGuards;

  constructor(routes: RouteGuards) {
    this.#routes = routes;
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const guards = this.#routes.take(context);
    if (guards.length === 0) {
      return true;
    }
    const call = readCall(context);
    // Outside HTTP several calls share the request object: the fields of a query, the messages of a client.
    const part = call.kind === 'http' ? undefined : context;
    for (const route of guards) {
      if (!(await this.#passes(route, call, part))) {
        // The response was already sent, here or elsewhere, or the client has gone. Nest would answer with any result
        // of this promise, and so end a response that other code is writing. A promise without references is
        // garbage-collected.
        return new Promise(() => {});
      }
    }
    return true;
  }

  async #passes(route: RouteGuard, call: HandlerCall, part: object | undefined): Promise<boolean> {
    let verdict: Verdict;
    try {
      verdict = await route.guard.check(call.request, part, call.response);
    } catch (error) {
      const own = responseFor(call);
      if (own !== undefined && !isUnanswered(own)) {
        return false;
      }
      if (own !== undefined) {
        writeFieldsOfError(error, own);
      }
      throw error;
    }
    return obey(verdict, route, call);
  }
}

// Decorators as functions, because JavaScript has no syntax for them.
Injectable()(RateLimitGuard);
Inject(RouteGuards)(RateLimitGuard, undefined, 0);

/** Returns whether the call goes on; false if other code has taken over its response. */
function obey(verdict: Verdict, { count }: RouteGuard, call: HandlerCall): boolean {
  const { kind, response } = call;
  const own = responseFor(call);
  if (!verdict.pass) {
    if (own !== undefined) {
      if (!isUnanswered(own)) {
        return false;
      }
      if (isPage(verdict)) {
        // An exception filter would wrap the text in JSON.
        return call.reply === undefined ? obeyNode(verdict, own) : obeyReply(verdict, call.reply);
      }
      answerWith(verdict.headers, own);
    }
    throw new RateLimitException(verdict);
  }
  const { finish } = verdict;
  if (finish !== undefined && (response === undefined || (kind === 'graphql' && count !== 'all'))) {
    finish('aborted');
    throw endUnseen(kind, count);
  }
  if (own !== undefined) {
    return letPass(verdict, own);
  }
  if (finish !== undefined && response !== undefined) {
    whenEnded(response, finish);
  }
  return true;
}

/** The response for this call alone. The parts of a GraphQL query share one response, and its fields. */
function responseFor({ kind, response }: HandlerCall): ServerResponse | undefined {
  return kind === 'graphql' ? undefined : response;
}

/** The error for a call whose end Nest does not report: its place would stay held, and failures would not be counted. */
function endUnseen(kind: string, count: RouteGuard['count']): RateLimiterError {
  return count === 'all'
    ? optionError(
        'concurrency',
        'be released at the end of an HTTP response',
        `got a call of kind '${kind}' without one`,
        'Acquire and release in the handler.',
      )
    : optionError(
        'count',
        "be 'all' where no HTTP status says how a call ended",
        `got ${typeof count === 'function' ? 'a function' : `'${count}'`} for a call of kind '${kind}'`,
        'Refund in the handler.',
      );
}

/** Sets the content type of a JSON problem, whether Nest or an exception filter writes the response. */
function answerWith(headers: HeaderFields, response: ServerResponse): void {
  const type = jsonTypeOf(headers);
  writeFields(
    headers.filter(([name]) => name.toLowerCase() !== 'content-type'),
    response,
  );
  if (type === undefined) {
    return;
  }
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  // Nest's platforms label every object `application/json` at the last moment, each in its own way.
  response.writeHead = (...args: unknown[]) => {
    const fields = args.at(-1);
    if (hasJsonType(fields)) {
      args[args.length - 1] = { ...fields, 'content-type': type };
    } else if (isJson(String(response.getHeader('Content-Type')))) {
      response.setHeader('Content-Type', type);
    }
    return writeHead(...args);
  };
}

/** Fastify passes all fields at once, with names in lower case. */
function hasJsonType(fields: unknown): fields is Record<string, unknown> {
  const type = (fields as Record<string, unknown> | undefined)?.['content-type'];
  return typeof type === 'string' && isJson(type);
}
