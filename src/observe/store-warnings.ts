import { sharedByCopies } from '../base/copies.ts';
import type { StoreFailure } from '../base/errors.ts';
import { monotonicMs } from '../base/timers.ts';
import type { StoreStateMessage } from './messages.ts';

/** The name of a store whose client does not tell its address. */
export const UNNAMED_STORE = 'redis';

const REPEAT_AFTER_MS = 60_000;

/** Texts of failures contain a name or a number of milliseconds at most, so a program has few. */
const MAX_FAILURES = 100;

/** The log text of a change of state. It contains no caller and no key. */
export function describeStoreState({ state, store, node, error }: StoreStateMessage): string {
  const all = store === UNNAMED_STORE ? 'Redis' : `Redis at ${store}`;
  const what = node === '' ? all : `Node ${node} of ${all}`;
  const why = error instanceof Error ? ` (${messageOf(error)})` : '';
  if (state === 'ready') {
    return `${what} answers again.`;
  }
  const trouble = state === 'away' ? 'is away' : 'does not answer';
  return `${what} ${trouble}: decisions are made by the failure strategy${why}.`;
}

/** Prefers the client's own reason, if there is one, because it says more than ours. Without the full stop, as it stands in brackets. */
function messageOf({ message, cause }: Error): string {
  const text = cause instanceof Error && cause.message !== '' ? cause.message : message;
  return text.slice(0, 200).replace(/\.$/, '');
}

/** Stores and nodes whose outage was reported; recovery is reported only for these. */
export class ReportedOutages {
  readonly #nodes = new Map<string, Set<string>>();

  begin({ store, node }: StoreStateMessage): void {
    const nodes = this.#nodes.get(store) ?? new Set();
    this.#nodes.set(store, nodes.add(node));
  }

  /** Whether an outage is reported and not over. */
  get any(): boolean {
    return this.#nodes.size > 0;
  }

  /** Returns whether this ends a reported outage. A store that recovers ends the outages of its nodes as well. */
  end({ store, node }: StoreStateMessage): boolean {
    const nodes = this.#nodes.get(store);
    const ended = nodes !== undefined && (node === '' || nodes.delete(node));
    if (ended && (node === '' || nodes.size === 0)) {
      this.#nodes.delete(store);
    }
    return ended;
  }
}

/** Changes without a subscriber, by their error: the first decision that suffers from one makes a warning of it. */
const unreported = sharedByCopies(
  'unreported changes',
  () => new WeakMap<object, StoreStateMessage>(),
);
const warned = sharedByCopies('warned outages', () => new ReportedOutages());

/** Remembers a change of state that had no subscriber. */
export function rememberUnreported(message: StoreStateMessage): void {
  if (message.state === 'ready') {
    if (warned.end(message)) {
      warn(message);
    }
  } else if (typeof message.error === 'object' && message.error !== null) {
    unreported.set(message.error, message);
  }
}

/** A failure of a limiter's call. */
interface Failure {
  readonly reason: StoreFailure;
  readonly message: string;
}

/**
 * Called when a call failed with this error and its limiter has no `onError`. `statesAreHeard`: a subscriber hears of
 * changes of state.
 */
export function warnOf(error: Failure, statesAreHeard: boolean): void {
  const message = unreported.get(error);
  if (message !== undefined) {
    unreported.delete(error);
    warned.begin(message);
    warn(message);
  } else if (!isKnown(error, statesAreHeard)) {
    warnOfFailure(error);
  }
}

/** Whether a change of state tells of this failure. Refusals of a server that answers change no state. */
function isKnown({ reason }: Failure, statesAreHeard: boolean): boolean {
  const isOutage = reason === 'store_away' || reason === 'store_timeout';
  return isOutage && (statesAreHeard || warned.any);
}

/** The texts of warned failures, and when each was last warned of. */
const failures = sharedByCopies('warned failures', () => new Map<string, number>());

/**
 * Warns of failures of one text once a minute at most, whatever the connection. Where each request has its own, every
 * one of them would report an outage.
 */
export function warnOfFailure({ message }: Pick<Failure, 'message'>): void {
  const now = monotonicMs();
  const last = failures.get(message);
  if (last !== undefined && now - last < REPEAT_AFTER_MS) {
    return;
  }
  if (failures.size >= MAX_FAILURES) {
    failures.clear();
  }
  failures.set(message, now);
  process.emitWarning(`${message} Decisions are made by the failure strategy.`, {
    type: 'RateLimiterWarning',
    code: 'DRL_DEGRADED',
  });
}

function warn(message: StoreStateMessage): void {
  process.emitWarning(describeStoreState(message), {
    type: 'RateLimiterWarning',
    code: 'DRL_STORE_STATE',
  });
}
