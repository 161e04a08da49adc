import { STATUS_CODES } from 'node:http';
import { HttpException } from '@nestjs/common';
import type { Refused } from '../../guard.ts';
import type { HeaderFields } from '../../application-fields.ts';

/**
 * The exception of a refused call, for exception filters: status 429, 503 or 400, and the problem as its response. In
 * HTTP its fields are already on the response.
 *
 * @example
 * ```ts
 * @Catch(RateLimitException)
 * class Calm implements ExceptionFilter {
 *   catch(exception: RateLimitException, host: ArgumentsHost) {
 *     host.switchToHttp().getResponse().status(exception.getStatus()).json({ calm: true });
 *   }
 * }
 * ```
 */
export class RateLimitException extends HttpException {
  /** The header fields of the answer, `Retry-After` among them. */
  readonly headers: HeaderFields;

  constructor({ status, headers, body }: Pick<Refused, 'status' | 'headers' | 'body'>) {
    const response = jsonTypeOf(headers) === undefined ? body : read(body);
    super(response, status);
    this.headers = headers;
    const { title } = response as { title?: unknown };
    if (typeof title === 'string') {
      this.message = title;
    }
  }

  /** The extensions of a GraphQL error: the problem, a code, and the seconds to wait. */
  get extensions(): Readonly<Record<string, unknown>> {
    const response = this.getResponse();
    const wait = this.headers.find(([name]) => name.toLowerCase() === 'retry-after')?.[1];
    return {
      ...(typeof response === 'object' && response),
      code: (STATUS_CODES[this.getStatus()] ?? 'RATE_LIMITED').toUpperCase().replaceAll(' ', '_'),
      ...(wait !== undefined && { retryAfter: Number(wait) }),
    };
  }
}

/** `onRefused` may label a body as JSON that is not. */
function read(body: string): object | string {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? value : body;
  } catch {
    return body;
  }
}

/** The media type of a JSON body. */
export function jsonTypeOf(headers: HeaderFields): string | undefined {
  const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  return type !== undefined && isJson(type) ? type : undefined;
}

export function isJson(type: string): boolean {
  return /^application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i.test(type);
}
