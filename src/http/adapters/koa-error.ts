import { sharedByCopies } from '../../base/copies.ts';
import type { ServerResponse } from 'node:http';
import type { HeaderFields } from '../application-fields.ts';

/** The used part of Koa's `ctx` when it answers an error. */
export interface ErrorContext {
  readonly res: ServerResponse;
  onerror?(error: unknown): void;
}

const kept = sharedByCopies(
  'fields kept on errors',
  () => new WeakMap<ErrorContext, Set<string>>(),
);

/**
 * Keeps fields on Koa's answer to an error, which clears all fields first. Works for errors of the handler and of
 * outer middleware.
 */
export function keepFieldsOnError(ctx: ErrorContext, fields: HeaderFields): void {
  // oxlint-disable-next-line unbound-method -- it is called on `ctx`
  const { onerror } = ctx;
  if (fields.length === 0 || onerror === undefined) {
    return;
  }
  let names = kept.get(ctx);
  if (names === undefined) {
    const own = new Set<string>();
    names = own;
    kept.set(ctx, own);
    // oxlint-disable-next-line prefer-add-event-listener -- a method, and no event target
    ctx.onerror = (error) => {
      if (error !== null && error !== undefined && !ctx.res.headersSent) {
        restoreOnHead(ctx.res, own);
      }
      onerror.call(ctx, error);
    };
  }
  for (const [name] of fields) {
    names.add(name);
  }
}

/** Writes back fields that are on a response now, and are missing when its head goes out. */
function restoreOnHead(response: ServerResponse, names: ReadonlySet<string>): void {
  const standing = [...names].flatMap((name) => {
    const value = response.getHeader(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  response.writeHead = (...args: unknown[]) => {
    for (const [name, value] of standing) {
      if (!response.hasHeader(name)) {
        response.setHeader(name, value);
      }
    }
    return writeHead(...args);
  };
}
