import type { StoreError } from '../base/errors.ts';
import { CallReader } from './call-reader.ts';
import { DecisionReader } from './decision-reader.ts';
import type { Settings } from './limiter-options.ts';
import { PendingCalls } from './pending-calls.ts';

/** What the verbs of one limiter share: they read a call, send it, and read its reply. */
export interface Parts {
  readonly settings: Settings;
  readonly callReader: CallReader;
  readonly calls: PendingCalls;
  readonly decisionReader: DecisionReader;
}

/** `report` is called for every call that the store did not answer. */
export function makeParts(settings: Settings, report: (error: StoreError) => void): Parts {
  return {
    settings,
    callReader: new CallReader(settings),
    calls: new PendingCalls(settings, report),
    decisionReader: new DecisionReader(settings),
  };
}
