import { invalidOption } from '../base/errors.ts';
import { storeStates } from '../observe/channels.ts';
import { describeStoreState, ReportedOutages } from '../observe/store-warnings.ts';
import type { StoreStateMessage } from '../observe/messages.ts';
import { GivenOptions } from '../options/read-options.ts';
import type { OptionSet } from '../options/read-options.ts';

/** A logger, recognized by its shape: `console`, pino, winston. */
export interface StoreStateLogger {
  /** Called when a store goes away or hangs. */
  warn(text: string): void;
  /** Called when it is back; if missing, `warn` is called. */
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
 * per request. Replaces the process warning of an outage without a subscriber. Returns a function that ends it.
 * Errors of the logger are ignored.
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
      // There is no other place to report it.
    }
  };
  storeStates.subscribe(onState);
  return () => {
    storeStates.unsubscribe(onState);
  };
}
