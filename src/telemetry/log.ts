import { invalidOption } from '../base/errors.ts';
import { storeStates } from '../observe/channels.ts';
import { describeStoreState, ReportedOutages } from '../observe/store-warnings.ts';
import type { StoreStateMessage } from '../observe/messages.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';

/** A logger, known by its shape: `console`, pino, winston. */
export interface StoreStateLogger {
  /** Told when a store goes away or hangs. */
  warn(text: string): void;
  /** Told when it is back; without it, `warn` is. */
  info?(text: string): void;
}

const OPTIONS: OptionSet = {
  of: 'logStoreState',
  names: ['logger'],
  otherNames: { log: 'logger' },
};

function readLogger(option: string, value: unknown): StoreStateLogger {
  if (typeof (value as Partial<StoreStateLogger> | null | undefined)?.warn !== 'function') {
    throw invalidOption(option, 'an object with warn(text)', value, 'Pass `console`, for one.');
  }
  return value as StoreStateLogger;
}

/**
 * Logs each change of state of a store: one line when Redis goes away or hangs, one when it answers again, never one
 * per request. It takes the place of the process warning that an outage makes where nobody listens. Returns what
 * ends it. What the logger throws is ignored.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`.
 * @example
 * logStoreState({ logger: console });
 * // Redis at localhost:6379 is away: decisions are made by the failure strategy (connect ECONNREFUSED).
 * // Redis at localhost:6379 answers again.
 */
export function logStoreState(options: { logger: StoreStateLogger }): () => void {
  const given = new GivenOptions(OPTIONS, options);
  const logger = given.required('logger', readLogger);
  given.end();
  const troubles = new ReportedOutages();
  const onState = (message: unknown): void => {
    const state = message as StoreStateMessage;
    const isBack = state.state === 'ready';
    if (!isBack) {
      troubles.begin(state);
    } else if (!troubles.end(state)) {
      return;
    }
    const text = describeStoreState(state);
    try {
      if (isBack && typeof logger.info === 'function') {
        logger.info(text);
      } else {
        logger.warn(text);
      }
    } catch {
      // There is nobody left to tell.
    }
  };
  storeStates.subscribe(onState);
  return () => {
    storeStates.unsubscribe(onState);
  };
}
