import type { ServerResponse } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { RateLimiterError } from '../../errors.ts';
import type { Verdict } from '../guard.ts';
import type { HeaderFields } from '../headers.ts';
import { whenEnded, writeFields } from '../node-http.ts';
import { readCall } from './call.ts';
import type { Call } from './call.ts';
import { isJson, jsonTypeOf, RateLimitException } from './exception.ts';
import { RouteGuards } from './route-guards.ts';
import type { RouteGuard } from './route-guards.ts';

/**
 * Limits what it is bound to. `RateLimitModule` binds it to the whole application; with `global: false` it limits
 * where `@UseGuards(RateLimitGuard)` stands. A call that it meets twice is decided once.
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
    // Elsewhere several calls share what stands for the request: the fields of a query, the messages of a client.
    const part = call.kind === 'http' ? undefined : context;
    for (const route of guards) {
      obey(await route.guard.check(call.request, part), route, call);
    }
    return true;
  }
}

// Decorators as functions: their syntax is no JavaScript.
Injectable()(RateLimitGuard);
Inject(RouteGuards)(RateLimitGuard, undefined, 0);

function obey(verdict: Verdict, { count }: RouteGuard, { kind, response }: Call): void {
  // The fields of a GraphQL query would speak of each of its parts, in a response that they share.
  const own = kind === 'graphql' ? undefined : response;
  if (!verdict.pass) {
    if (own !== undefined) {
      answerWith(verdict.headers, own);
    }
    throw new RateLimitException(verdict);
  }
  if (own !== undefined) {
    writeFields(verdict.headers, own);
  }
  if (verdict.finish === undefined) {
    return;
  }
  if (response === undefined || (kind === 'graphql' && count !== 'all')) {
    verdict.finish('aborted');
    throw endUnseen(kind, count);
  }
  whenEnded(response, verdict.finish);
}

/** A place held for ever, or a count that counts something else, would be worse than none. */
function endUnseen(kind: string, count: RouteGuard['count']): RateLimiterError {
  return new RateLimiterError(
    'ERR_INVALID_OPTION',
    count === 'all'
      ? `A concurrency limit must have an HTTP response, at whose end a place is given back, got a call of kind '${kind}' without one. Acquire and release in the handler.`
      : `\`count\` must be 'all' where no HTTP status says how a call ended, got '${count}' for a call of kind '${kind}'. Refund in the handler.`,
  );
}

/** Whoever writes the response, Nest or an exception filter, says what it is: a problem, if it is JSON. */
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
  // Nest's platforms call every object `application/json`, one way or another, at the last moment.
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

/** Fastify passes all fields at once, by their names in lower case. */
function hasJsonType(fields: unknown): fields is Record<string, unknown> {
  const type = (fields as Record<string, unknown> | undefined)?.['content-type'];
  return typeof type === 'string' && isJson(type);
}
