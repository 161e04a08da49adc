import { StoreError } from '../base/errors.ts';
import type { Cost, Decision } from '../base/decision.ts';
import { makeShape } from '../script/call-shape.ts';
import { readRecalled } from '../script/read-answer.ts';
import { unitOf } from './cost.ts';
import { LimitSet } from './limit-set.ts';
import type { Located } from './limit-set.ts';
import type { Settings } from './limiter-options.ts';
import { makeDegradedDecision } from './make-decision.ts';
import type { PendingCalls } from './pending-calls.ts';
import { PendingReservation } from './reservation.ts';
import type { ReservationHandle, Settler } from './reservation.ts';
import { readToken } from './reservation-token.ts';
import type { ReservationPlace } from './reservation-token.ts';
import { ResumedReservation } from './resumed-reservation.ts';
import type { Recalled } from './resumed-reservation.ts';
import { checkSharding } from './sharding.ts';
import { readToldLimits, readToldSettlement } from './told-limits.ts';

/** The parts of a limiter that go on with reservations of other processes. */
export interface ResumeParts {
  readonly settings: Settings;
  readonly calls: PendingCalls;
  /** The limits of records, by what the records say of them. */
  readonly known: Map<string, LimitSet>;
  checkOpen(): void;
  /** What settles a reservation under these limits. */
  settler(located: Located): Settler;
}

/** The most sets of limits kept. Beyond it the oldest set is dropped, and made again when needed. */
const MAX_KNOWN = 256;

/** Reads the record of a reservation, which is its only key. */
const RECALL = makeShape('recall', 0, []);

/**
 * Makes the handle of a reservation by its token. Sends nothing.
 *
 * @throws {RateLimiterError} `ERR_INVALID_OPTION`, `ERR_UNKNOWN_TOKEN`
 */
export function resume(token: unknown, parts: ResumeParts): ReservationHandle<string> {
  const { settings } = parts;
  const place = readToken(token, settings);
  checkSharding(settings.sharding, 'reserve', place.homes.length + 1);
  const { counts, limits } = settings;
  const resumed = new ResumedReservation({
    ownUnits: limits.hasUnits ? new Set(limits.limits.map(unitOf)) : undefined,
    isUnlimited: place.homes.length === 0,
    checkOpen: () => parts.checkOpen(),
    recall: () => recall(place, parts),
    countUnlimited: () => counts.alone(undefined),
    degrade: (error, cost) => degrade(error, cost, settings),
  });
  return resumed.handle(token as string);
}

const HELD = '1:';

async function recall({ record, homes }: ReservationPlace, parts: ResumeParts): Promise<Recalled> {
  const [key] = homes as readonly [string, ...string[]];
  const located = { key, homes: homes.length > 1 ? homes : undefined };
  const told = await parts.calls.submit(
    { ...located, shape: RECALL, record },
    { read: (_, reply, at) => readRecalled(reply, at) },
  );
  if (told === undefined) {
    return undefined;
  }
  const text = told.slice(HELD.length);
  if (!told.startsWith(HELD)) {
    const settled = readToldSettlement(text);
    if (settled === undefined) {
      throw unreadable();
    }
    return { settled };
  }
  const limits = limitsOf(text, parts);
  if (limits === undefined || limits.homes.length > homes.length) {
    throw unreadable();
  }
  return {
    pending: new PendingReservation(record, undefined, parts.settler({ ...located, limits })),
    units: limits.hasUnits ? new Set(limits.limits.map(unitOf)) : undefined,
  };
}

/** The limits that a record tells, made once for all records that tell the same. */
function limitsOf(text: string, { settings, known }: ResumeParts): LimitSet | undefined {
  const set = known.get(text) ?? makeLimits(text, settings);
  if (set !== undefined && !known.has(text)) {
    if (known.size >= MAX_KNOWN) {
      known.delete(known.keys().next().value!);
    }
    known.set(text, set);
  }
  return set;
}

function makeLimits(text: string, settings: Settings): LimitSet | undefined {
  const { namespace, blocks, counts, store } = settings;
  const { limits, homes, observes = false } = readToldLimits(text) ?? {};
  try {
    return limits === undefined
      ? undefined
      : new LimitSet(namespace, limits, blocks, {
          counts,
          clock: store.clock,
          blockable: homes ?? [],
          observes,
        });
  } catch {
    return undefined; // no limits that a limiter can have
  }
}

function unreadable(): StoreError {
  return new StoreError(
    'store_error',
    'The record of the reservation does not say what this version can read: its limits are of a newer version, or this library did not write it.',
  );
}

/** The answer to an `add` whose record the store did not give. */
function degrade(error: unknown, cost: Cost, { counts, failStrategy }: Settings): Decision {
  if (error instanceof StoreError) {
    counts.degraded(error);
    if (failStrategy !== 'throw') {
      return makeDegradedDecision(failStrategy === 'open', error, cost);
    }
  }
  throw error;
}
