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

/** One call: under `home` the state with `ids[i]` is the one that `limits[i]` governs. */
export interface OracleCall {
  readonly verb: 'allow' | 'peek' | 'reset';
  readonly cost: bigint;
  readonly home: string;
  readonly ids: readonly string[];
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

/** One limit's state in a home: as it was stored, and as it was read. */
interface Part {
  text: string | undefined;
  state: State | 'unreadable' | undefined;
  changed: boolean;
}

interface Home {
  /** In the order in which they are written. */
  parts: Map<string, Part>;
  unreadable: boolean;
  changed: boolean;
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
    const homes = new Map<string, Home>();
    const answers = calls.map((call) => {
      const home = homes.get(call.home) ?? this.#read(call.home, now);
      homes.set(call.home, home);
      return this.#answer(call, home, now);
    });
    const writes = new Map<string, OracleWrite>();
    for (const [key, home] of homes) {
      if (home.changed) {
        const saved = write(home, now);
        writes.set(key, saved);
        if (saved === undefined) {
          this.stored.delete(key);
        } else {
          this.stored.set(key, { value: saved.value, expiresAt: now + saved.ttlMs * 1_000n });
        }
      }
    }
    return { answers, writes };
  }

  #read(key: string, now: bigint): Home {
    const kept = this.stored.get(key);
    const gone = this.#expires && kept?.expiresAt !== undefined && kept.expiresAt <= now;
    return readHome(kept === undefined || gone ? undefined : kept.value, now);
  }

  #answer(call: OracleCall, home: Home, now: bigint): OracleAnswer {
    if (call.verb === 'reset') {
      home.unreadable = false;
      home.changed = true;
      for (const id of call.ids) {
        home.parts.delete(id);
      }
      return 'reset';
    }
    const held = call.ids.map((id) => {
      const part = home.parts.get(id) ?? { text: undefined, state: undefined, changed: false };
      part.state ??= part.text === undefined ? neverUsed() : parse(part.text);
      return part;
    });
    if (home.unreadable || held.some(({ state }) => state === 'unreadable')) {
      return 'unreadable';
    }
    const change = (part: Part, state: State): void => {
      part.state = state;
      part.changed = true;
      home.changed = true;
      const named = call.ids.flatMap((id, i) => {
        const known = home.parts.get(id) ?? (held[i] === part ? part : undefined);
        return known === undefined ? [] : [[id, known] as const];
      });
      home.parts = new Map([...named, ...[...home.parts].filter(([id]) => !call.ids.includes(id))]);
    };
    const judged = call.limits.map((limit, i) => {
      const each = held[i] as Part;
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
        change(each, { ticks: instant + ceiling, n, until: divideUp(ticks, n) });
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
        change(each, { ticks: after, n, until: (each.state as State).until });
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

/** `'tat'`, `'tat:rem:n'` or `'rests:rem:n:tat:until'`, whole decimal numbers in [0, 2^53), `rem < n`. */
function parse(value: string): State | 'unreadable' {
  const fields = value.split(':');
  if (![1, 3, 5].includes(fields.length) || !fields.every((field) => /^[0-9]+$/.test(field))) {
    return 'unreadable';
  }
  const [tat, rem, n, until] = [
    fields[3] ?? fields[0] ?? '',
    fields[1] ?? 0,
    fields[2] ?? 1,
    fields[4] ?? 0,
  ].map(BigInt) as [bigint, bigint, bigint, bigint];
  const tooGreat = [tat, rem, n, until].some((number) => number >= LIMIT_OF_NUMBERS);
  return tooGreat || rem >= n ? 'unreadable' : { ticks: tat * n + rem, n, until };
}

/** A home is one state, or `;id` and a state for each limit, which begins with the instant at which it rests. */
function readHome(value: string | undefined, now: bigint): Home {
  const home: Home = { parts: new Map(), unreadable: false, changed: false };
  const add = (id: string, text: string): void => {
    home.parts.set(id, { text, state: undefined, changed: false });
  };
  if (value === undefined) {
    return home;
  }
  const plain = /^([0-9]+)[^;]*$/.exec(value)?.[1];
  if (plain !== undefined && BigInt(plain) < LIMIT_OF_NUMBERS) {
    add('=t', value);
    return home;
  }
  const [before, ...parts] = value.split(';');
  home.unreadable = before !== '' || parts.length === 0;
  for (const part of parts) {
    const [, id = '', text = '', digits = ''] =
      /^([A-Za-z0-9._-]*=[a-z])(([0-9]+).*)$/.exec(part) ?? [];
    if (id === '' || BigInt(digits) >= LIMIT_OF_NUMBERS || home.parts.has(id)) {
      home.unreadable = true;
    } else if (BigInt(digits) >= now) {
      add(id, text);
    }
  }
  if (home.unreadable) {
    home.parts.clear();
  }
  return home;
}

function write({ parts }: Home, now: bigint): OracleWrite {
  const written = [...parts].map(([id, { text, state, changed }]) => {
    const saved =
      changed && typeof state === 'object'
        ? save(state, now)
        : { value: text ?? '', rests: BigInt(/^[0-9]*/.exec(text ?? '')?.[0] ?? 0) };
    return { id, ...saved };
  });
  const counting = written.filter(({ rests }) => rests >= now);
  if (counting.length === 0) {
    return undefined;
  }
  const latest = counting.reduce((most, { rests }) => (rests > most ? rests : most), now);
  const { id, value } = counting[0]!;
  return {
    value:
      counting.length === 1 && id === '=t'
        ? value
        : counting.map((part) => `;${part.id}${part.value}`).join(''),
    ttlMs: divideUp(latest - now, 1_000n) + 1n,
  };
}

function save({ ticks, n, until }: State, now: bigint): { value: string; rests: bigint } {
  const [tat, rem] = [ticks / n, ticks % n];
  const waiting = until > now;
  let rests = divideUp(ticks, n);
  if (waiting && until > rests) {
    rests = until;
  }
  const value = waiting
    ? `${rests}:${rem}:${n}:${tat}:${until}`
    : rem > 0n
      ? `${tat}:${rem}:${n}`
      : `${tat}`;
  return { value, rests };
}

/** Of numbers that are not negative. */
function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}
