/**
 * A model of what the documents promise of a token bucket, on rational numbers that are never rounded. It shares
 * no code and no arithmetic with the twins: a time is a `bigint` count of n-ths of a microsecond, where
 * `period / rate = p / n` microseconds, and the order of things is that of the documents.
 */

/** One limit's numbers. A unit recovers in `periodUs / rate` microseconds. */
interface OracleLimit {
  readonly rate: bigint;
  readonly periodUs: bigint;
  readonly burst: bigint;
  readonly maxDebt: bigint;
}

/** One call: `keys[i]` is the state that `limits[i]` governs. */
export interface OracleCall {
  readonly verb: 'allow' | 'peek' | 'reset';
  readonly cost: bigint;
  readonly keys: readonly string[];
  readonly limits: readonly OracleLimit[];
}

/** What one limit says. Microseconds are whole, rounded up. */
export interface OracleVerdict {
  readonly refused: boolean;
  readonly remaining: bigint;
  readonly retryUs: bigint;
  readonly resetUs: bigint;
}

/** Each limit's verdict; nothing for a reset; `unreadable` where a state is not one of ours. */
export type OracleAnswer = readonly OracleVerdict[] | 'reset' | 'unreadable';

/** What a key holds from now on, and for how many milliseconds; nothing where it is deleted. */
export type OracleWrite = { readonly value: string; readonly ttlMs: bigint } | undefined;

interface State {
  /** Theoretical arrival time, in n-ths of a microsecond. */
  ticks: bigint;
  n: bigint;
  /** No excess is forgiven before this, in microseconds. */
  until: bigint;
}

interface Held {
  state: State | 'unreadable';
  write: 'none' | 'state' | 'delete';
}

const SECOND = 1_000_000n;
const LIMIT_OF_NUMBERS = 2n ** 53n;

/** State of many keys, and the decisions on them. */
export class Oracle {
  readonly stored = new Map<string, { value: string; expiresAt: bigint | undefined }>();
  /** How often an excess was forgiven. */
  pardons = 0;
  readonly #expires: boolean;

  /**
   * @param expires whether a state is forgotten when its TTL has passed. A clock that steps back past an expiry
   *   tells the two apart, nothing else does.
   */
  constructor(expires: boolean) {
    this.#expires = expires;
  }

  /** Decides the calls in order, all at the instant `now`; each changed key is written once, at the end. */
  decide(
    calls: readonly OracleCall[],
    now: bigint,
  ): { answers: OracleAnswer[]; writes: Map<string, OracleWrite> } {
    const held = new Map<string, Held>();
    const hold = (key: string): Held => {
      let found = held.get(key);
      if (found === undefined) {
        found = { state: this.#read(key, now), write: 'none' };
        held.set(key, found);
      }
      return found;
    };
    const answers = calls.map((call) => this.#answer(call, call.keys.map(hold), now));
    const writes = new Map<string, OracleWrite>();
    for (const [key, { state, write }] of held) {
      if (write === 'delete') {
        writes.set(key, undefined);
        this.stored.delete(key);
      } else if (write === 'state' && state !== 'unreadable') {
        const saved = save(state, now);
        writes.set(key, saved);
        this.stored.set(key, { value: saved.value, expiresAt: now + saved.ttlMs * 1_000n });
      }
    }
    return { answers, writes };
  }

  #read(key: string, now: bigint): State | 'unreadable' {
    const kept = this.stored.get(key);
    const gone = this.#expires && kept?.expiresAt !== undefined && kept.expiresAt <= now;
    return kept === undefined || gone ? neverUsed() : parse(kept.value);
  }

  #answer(call: OracleCall, held: readonly Held[], now: bigint): OracleAnswer {
    if (call.verb === 'reset') {
      for (const each of held) {
        each.state = neverUsed();
        each.write = 'delete';
      }
      return 'reset';
    }
    if (held.some(({ state }) => state === 'unreadable')) {
      return 'unreadable';
    }
    const judged = call.limits.map((limit, i) => {
      const each = held[i] as Held;
      const state = each.state as State;
      const { n, p } = spacing(limit);
      const instant = now * n;
      let ticks = inTicks(state, n);
      if (ticks < instant) {
        ticks = instant;
      }
      const ceiling = (limit.burst + limit.maxDebt) * p;
      const excess = ticks - (instant + ceiling);
      if (excess > SECOND * n && state.until <= now) {
        this.pardons += 1;
        each.state = { ticks: instant + ceiling, n, until: divideUp(ticks, n) };
        each.write = 'state';
        ticks = instant + ceiling;
      }
      const beyond = ticks + call.cost * p - (instant + limit.burst * p);
      return { each, n, p, instant, ticks, beyond, top: instant + limit.burst * p };
    });
    const passes = judged.every(({ beyond }) => beyond <= 0n);
    return judged.map(({ each, n, p, instant, ticks, beyond, top }) => {
      let after = ticks;
      if (passes && call.verb === 'allow') {
        after = ticks + call.cost * p;
        each.state = { ticks: after, n, until: (each.state as State).until };
        each.write = 'state';
      }
      return {
        refused: beyond > 0n,
        remaining: after < top ? (top - after) / p : 0n,
        retryUs: beyond > 0n ? divideUp(beyond, n) : 0n,
        resetUs: divideUp(after - instant, n),
      };
    });
  }
}

function neverUsed(): State {
  return { ticks: 0n, n: 1n, until: 0n };
}

/** A unit recovers in `p` n-ths of a microsecond. */
function spacing({ rate, periodUs }: OracleLimit): { n: bigint; p: bigint } {
  let [a, b] = [rate, periodUs];
  while (b > 0n) {
    [a, b] = [b, a % b];
  }
  return { n: rate / a, p: periodUs / a };
}

/** In another limit's n-ths, a time is rounded up to whole microseconds: against the caller. */
function inTicks(state: State, n: bigint): bigint {
  return state.n === n ? state.ticks : divideUp(state.ticks, state.n) * n;
}

/** `'tat'`, `'tat:rem:n'` or `'tat:rem:n:until'`, whole decimal numbers in [0, 2^53), `rem < n`. */
function parse(value: string): State | 'unreadable' {
  const fields = value.split(':');
  if (![1, 3, 4].includes(fields.length) || !fields.every((field) => /^[0-9]+$/.test(field))) {
    return 'unreadable';
  }
  const [tat, rem, n, until] = [
    fields[0] ?? '',
    fields[1] ?? 0,
    fields[2] ?? 1,
    fields[3] ?? 0,
  ].map(BigInt) as [bigint, bigint, bigint, bigint];
  const tooGreat = [tat, rem, n, until].some((number) => number >= LIMIT_OF_NUMBERS);
  return tooGreat || rem >= n ? 'unreadable' : { ticks: tat * n + rem, n, until };
}

function save({ ticks, n, until }: State, now: bigint): { value: string; ttlMs: bigint } {
  const [tat, rem] = [ticks / n, ticks % n];
  const waiting = until > now;
  let rests = divideUp(ticks, n);
  if (waiting && until > rests) {
    rests = until;
  }
  return {
    value: waiting ? `${tat}:${rem}:${n}:${until}` : rem > 0n ? `${tat}:${rem}:${n}` : `${tat}`,
    ttlMs: divideUp(rests - now, 1_000n) + 1n,
  };
}

/** Of numbers that are not negative. */
function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}
