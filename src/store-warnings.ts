import type { StoreStateMessage } from './events.ts';

/** The name of a store whose client does not tell where it leads to. */
export const UNNAMED = 'redis';

/** What a log says of a change of state. It names no caller and no key. */
export function describeStoreState({ state, store, node, error }: StoreStateMessage): string {
  const all = store === UNNAMED ? 'Redis' : `Redis at ${store}`;
  const place = node === '' || node === store ? all : `${node} of ${all}`;
  const why = error instanceof Error ? ` (${messageOf(error)})` : '';
  if (state === 'ready') {
    return `${place} answers again.`;
  }
  const trouble = state === 'away' ? 'is away' : 'does not answer';
  return `${place} ${trouble}: decisions are made by the failure strategy${why}.`;
}

/** The reason that the client gave, where it gave one, says more than ours. */
function messageOf({ message, cause }: Error): string {
  const text = cause instanceof Error && cause.message !== '' ? cause.message : message;
  return text.slice(0, 200);
}

/** Changes that nobody listened to, by their error: the first decision that suffers makes a warning of it. */
const unheard = new WeakMap<object, StoreStateMessage>();
/** Stores and nodes that were warned of, and are not back yet. */
const warned = new Set<string>();

/** A change of state without a subscriber. */
export function noteUnheard(message: StoreStateMessage): void {
  if (typeof message.error === 'object' && message.error !== null) {
    unheard.set(message.error, message);
  }
  if (message.state === 'ready') {
    for (const place of warned) {
      if (place === placeOf(message) || (message.node === '' && isOf(place, message.store))) {
        warned.delete(place);
        warn(message);
      }
    }
  }
}

/** A call failed with this error, and its limiter has no `onError`. */
export function warnOf(error: object): void {
  const message = unheard.get(error);
  if (message !== undefined) {
    unheard.delete(error);
    warned.add(placeOf(message));
    warn(message);
  }
}

function placeOf({ store, node }: StoreStateMessage): string {
  return `${store} ${node}`;
}

function isOf(place: string, store: string): boolean {
  return place.startsWith(`${store} `);
}

function warn(message: StoreStateMessage): void {
  process.emitWarning(describeStoreState(message), {
    type: 'RateLimiterWarning',
    code: 'DRL_STORE_STATE',
  });
}
