import type { AnyLimit } from '../algorithms/limit.ts';
import type { Decision, GivenCost } from '../base/decision.ts';
import type { Identity } from '../base/identity.ts';
import type { AnyLimiter } from '../limiter/limiter-or-options.ts';
import { WAIT_OF_GUARD } from '../options/http-option-sets.ts';
import { GivenOptions, readInteger } from '../options/read-options.ts';
import { whenEnded } from './request-end.ts';
import type { NodeResponse } from './request-end.ts';

/** How long and in what number requests wait for their turn, instead of being refused. */
export interface RequestWait {
  /** The longest wait of a request in milliseconds, from 1 to 600,000. */
  timeoutMs: number;
  /** The most requests of one identity that wait behind the first in this process, from 0 to 10,000. Default 100. */
  maxQueue?: number;
}

/** Tells when the client of a request has gone: Node's response to it, a web `Request`, or a signal. */
export type ClientOf = NodeResponse | Pick<Request, 'signal'> | AbortSignal;

/** The most requests of one guard that wait at a time, of whatever identities. */
const MOST_WAITING = 10_000;
const LONGEST_WAIT_MS = 600_000;

export function readRequestWait(_option: string, wait: unknown): Required<RequestWait> {
  const given = new GivenOptions(WAIT_OF_GUARD, wait);
  const bounds = {
    timeoutMs: given.required('timeoutMs', (option, value) =>
      readInteger(option, value, 1, LONGEST_WAIT_MS),
    ),
    maxQueue: given.optional(
      'maxQueue',
      (option, value) => readInteger(option, value, 0, MOST_WAITING),
      100,
    ),
  };
  given.end();
  return bounds;
}

interface Call {
  readonly cost?: GivenCost;
  readonly limits?: readonly AnyLimit[];
}

/** The requests of one guard that wait for their turn. */
export class WaitingRequests {
  readonly #limiter: AnyLimiter;
  readonly #bounds: Required<RequestWait>;
  #count = 0;

  constructor(limiter: AnyLimiter, bounds: Required<RequestWait>) {
    this.#limiter = limiter;
    this.#bounds = bounds;
  }

  /** Decides on a request, after its wait. Undefined if the client has gone meanwhile, and nothing was charged. */
  async decide(
    identity: Identity,
    call: Call,
    client: ClientOf | undefined,
  ): Promise<{ readonly decision: Decision; readonly isQueueFull: boolean } | undefined> {
    if (this.#count >= MOST_WAITING) {
      return { decision: await this.#limiter.allow(identity, call), isQueueFull: false };
    }
    const signal = client === undefined ? undefined : goneSignal(client);
    this.#count += 1;
    try {
      return await this.#limiter.allowInTurn(identity, {
        ...call,
        ...this.#bounds,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) {
        return undefined;
      }
      throw error;
    } finally {
      this.#count -= 1;
    }
  }
}

/** A signal of this realm, whatever the runtime's own are made of; undefined if nothing tells when the client leaves. */
function goneSignal(client: ClientOf): AbortSignal | undefined {
  const controller = new AbortController();
  const leave = (): void => controller.abort();
  if ('once' in client) {
    whenEnded(client, leave);
    return controller.signal;
  }
  const signal = 'signal' in client ? client.signal : client;
  if (typeof signal?.addEventListener !== 'function') {
    return undefined;
  }
  if (signal.aborted) {
    leave();
  }
  signal.addEventListener('abort', leave, { once: true });
  return controller.signal;
}
