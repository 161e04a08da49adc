import type { MessagePort } from 'node:worker_threads';
import type { Cost, Decision } from '../base/decision.ts';
import { RateLimiterError, StoreError } from '../base/errors.ts';
import type { ErrorCode, StoreFailure } from '../base/errors.ts';
import type { AnyIdentity } from '../base/identity.ts';
import type { PlainOptions } from './options.ts';

/** The worker's initial data. */
export interface Start {
  /** The file with the thread's code. */
  readonly file: string;
  readonly port: MessagePort;
  readonly signal: Int32Array;
  readonly options: PlainOptions;
}

/** Indexes of the shared signal: the number of messages sent, and whether the worker has ended. */
export const SENT = 0;
export const ENDED = 1;

/** A call for the worker. */
export interface Question {
  readonly verb: 'allow' | 'peek' | 'reset' | 'close';
  /** Of primitive values, which a structured clone keeps as they are. */
  readonly identity: AnyIdentity;
  readonly cost: Cost | undefined;
}

/** A question in transit; ids count up from 1. */
export type Asked = Question & { readonly id: number };

/** The worker's answer; the one with id 0 reports that it has started or, with an error, why it could not. */
export interface Answer {
  readonly id: number;
  readonly decision?: Decision;
  /** The rejection of the call. */
  readonly error?: unknown;
  /** Errors for `onError`. */
  readonly reported: readonly unknown[];
}

/** Causes beyond this depth are dropped. */
const DEEPEST_CAUSE = 4;

/** An error as plain data, because a structured clone loses its class and its code. */
interface Packed {
  readonly packed: true;
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly reason: StoreFailure | undefined;
  readonly cause: unknown;
}

/** Makes an answer cloneable. An error that occurs twice in it is one error again when unpacked. */
export function pack(answer: Answer): Answer {
  const known = new Map<unknown, unknown>();
  const packed = (error: unknown): unknown => {
    if (!known.has(error)) {
      known.set(error, packError(error, 0));
    }
    return known.get(error);
  };
  return mapErrors(answer, packed);
}

export function unpack(answer: Answer): Answer {
  const known = new Map<unknown, unknown>();
  const unpacked = (error: unknown): unknown => {
    if (!known.has(error)) {
      known.set(error, unpackError(error));
    }
    return known.get(error);
  };
  return mapErrors(answer, unpacked);
}

function mapErrors(answer: Answer, map: (error: unknown) => unknown): Answer {
  const { decision, error } = answer;
  return {
    ...answer,
    ...(decision?.degraded === true
      ? { decision: { ...decision, error: map(decision.error) as StoreError } }
      : {}),
    ...(error === undefined ? {} : { error: map(error) }),
    reported: answer.reported.map(map),
  };
}

function packError(error: unknown, depth: number): unknown {
  if (!(error instanceof Error)) {
    return typeof error === 'object' || typeof error === 'function' || typeof error === 'symbol'
      ? undefined
      : error;
  }
  const { name, message, stack, cause } = error;
  const { code, reason } = error as { code?: unknown; reason?: StoreFailure };
  const packed: Packed = {
    packed: true,
    name,
    message,
    stack,
    code: typeof code === 'string' ? code : undefined,
    reason: error instanceof StoreError ? reason : undefined,
    cause: depth < DEEPEST_CAUSE ? packError(cause, depth + 1) : undefined,
  };
  return packed;
}

function unpackError(value: unknown): unknown {
  if ((value as Packed | null | undefined)?.packed !== true) {
    return value;
  }
  const { name, message, stack, code, reason, cause } = value as Packed;
  const options = cause === undefined ? {} : { cause: unpackError(cause) };
  let error: Error;
  if (reason !== undefined) {
    error = new StoreError(reason, message, options);
  } else if (name === 'RateLimiterError') {
    error = new RateLimiterError(code as ErrorCode, message, options);
  } else {
    error = new Error(message, options);
    Object.defineProperty(error, 'name', { value: name, configurable: true });
    if (code !== undefined) {
      Object.assign(error, { code });
    }
  }
  Object.defineProperty(error, 'stack', { value: stack, writable: true, configurable: true });
  return error;
}
