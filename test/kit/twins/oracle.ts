/**
 * A model of what the documents promise of a token bucket, on rational numbers that are never rounded. It shares
 * no code and no arithmetic with the twins: a time is a `bigint` count of n-ths of a microsecond, where
 * `period / rate = p / n` microseconds, and the order of things is that of the documents. It knows limiters' own limits,
 * which may differ from one call to the next; not plans that are passed with calls, nor refunds.
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

/** An arrival time in n-ths of a microsecond, and what was given back on it. */
interface Counted {
  ticks: bigint;
  n: bigint;
  given: bigint;
}

interface Line extends Counted {
  id: bigint;
  p: bigint;
  burst: bigint;
  maxDebt: bigint;
}

interface State extends Counted {
  /** The long form; none of a plain state. Whole microseconds. */
  long:
    | {
        at: bigint;
        rests: bigint;
        top: bigint;
        epoch: bigint;
        until: bigint;
        lines: Line[];
      }
    | undefined;
}

/** One limit's state in a home: as it was stored, and as it was read. */
interface Part {
  text: string | undefined;
  state: State | 'unreadable' | undefined;
  changed: boolean;
  /** Whether its lines moved back with the clock, which the first call that is decided by it stores. */
  moved: boolean;
}

interface Home {
  /** In the order in which they are written. */
  parts: Map<string, Part>;
  unreadable: boolean;
  changed: boolean;
  /** Whether it is one state without an id that rests: any write of another state drops it, be it unreadable. */
  rested: boolean;
}

const SECOND = 1_000_000n;
const LIMIT_OF_NUMBERS = 2n ** 53n;
const MOST_GIVEN = 2n ** 52n;
const MOST_LINES = 8;
/** Twenty years: no limit reaches further ahead. */
const FURTHEST = 2n * 316_224_000_000_000n;

/** State of many keys, and the decisions on them. */
export class Oracle {
  readonly stored = new Map<string, { value: string; expiresAt: bigint | undefined }>();
  /** How often a state of several lines was read. */
  longs = 0;
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
      call.ids.forEach((id, i) => {
        const part = home.parts.get(id);
        if (id !== '=t') {
          dropRested(home);
        }
        if (part === undefined) {
          return;
        }
        load(part, now);
        if (
          home.parts.size > 16 ||
          part.state === 'unreadable' ||
          !reset(part.state!, call.limits[i] as OracleLimit, now)
        ) {
          home.parts.delete(id);
        } else {
          note(home, call.ids, [], part);
        }
      });
      return 'reset';
    }
    const held = call.ids.map((id) => {
      const part = home.parts.get(id) ?? fresh();
      load(part, now);
      return part;
    });
    if (home.unreadable || held.some(({ state }) => state === 'unreadable')) {
      return 'unreadable';
    }
    const change = (part: Part): void => {
      note(home, call.ids, held, part);
    };
    const judged = call.limits.map((limit, i) => {
      const each = held[i] as Part;
      const state = each.state as State;
      if (each.moved) {
        change(each);
        each.moved = false;
      }
      this.longs += state.long === undefined ? 0 : 1;
      const { n, p } = spacing(limit);
      const instant = now * n;
      const line = lineOf(state, limit, now, () => change(each));
      const ticks = most(line === undefined ? inTicks(state, n) : line.ticks, instant);
      const top = instant + limit.burst * p;
      return { each, limit, line, n, p, instant, ticks, beyond: ticks + call.cost * p - top, top };
    });
    const passes = judged.every(({ beyond }) => beyond <= 0n);
    return judged.map(({ each, limit, line, n, p, instant, ticks, beyond, top }) => {
      let after = ticks;
      if (passes && call.verb === 'allow') {
        after = ticks + call.cost * p;
        charge(each.state as State, limit, line, after, call.cost, now);
        change(each);
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

function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** As far as the limit's arrival time may run ahead: its whole recovery and a second, in microseconds. */
function topOf(
  { burst, maxDebt }: Pick<OracleLimit, 'burst' | 'maxDebt'>,
  p: bigint,
  n: bigint,
): bigint {
  return divideUp((burst + maxDebt) * p, n) + SECOND;
}

/** Redis's clock is behind the last charge: all lines move back. A state whose lines all rest is none. */
function moveBack(each: Part, now: bigint): void {
  const { state } = each;
  if (state === undefined || state === 'unreadable' || state.long === undefined) {
    return;
  }
  const { long } = state;
  const back = most(0n, long.at - now);
  if (long.rests - back <= now) {
    each.state = neverUsed();
    return;
  }
  if (back > 0n) {
    long.at -= back;
    long.rests -= back;
    long.until = long.rests;
    long.epoch = long.epoch === 0n ? now : long.epoch;
    for (const line of [state, ...long.lines]) {
      line.ticks -= back * line.n;
      give(line, back * line.n);
    }
    each.moved = true;
  }
}

function give(line: Counted, ticks: bigint): void {
  line.given += ticks;
  if (line.given >= MOST_GIVEN * line.n) {
    line.given = MOST_GIVEN * line.n;
  }
}

function lengthen(state: State, top: bigint, now: bigint): void {
  if (state.long === undefined && state.ticks / state.n - now > FURTHEST) {
    state.ticks = (now + FURTHEST) * state.n + (state.ticks % state.n);
  }
  const rests = divideUp(state.ticks, state.n);
  if (state.long === undefined && state.ticks % state.n === 0n) {
    state.ticks /= state.n;
    state.n = 1n;
  }
  state.long ??= {
    at: now,
    rests: most(now, rests),
    top: most(top, rests - now),
    epoch: 0n,
    until: 0n,
    lines: [],
  };
}

/** The labelled line that counts for the limit; none where the unlabelled one does. */
function lineOf(
  state: State,
  limit: OracleLimit,
  now: bigint,
  change: () => void,
): Line | undefined {
  const { n, p } = spacing(limit);
  const top = topOf(limit, p, n);
  const ticks = inTicks(state, n);
  if (state.long === undefined) {
    if (ticks - now * n <= top * n) {
      return undefined;
    }
    lengthen(state, top, now);
    change();
  }
  const { at, lines, top: stored } = state.long!;
  const known = lines.find((line) => isOf(line, limit));
  if (known !== undefined) {
    return known;
  }
  if (stored >= top && ticks - at * n <= top * n) {
    return undefined;
  }
  // Begins with the most units that any line counts.
  let used = most(0n, ticks - at * n);
  for (const line of lines) {
    used = most(used, divideUp(most(0n, line.ticks - at * line.n) * p, line.p));
  }
  const { burst, maxDebt } = limit;
  const started = at * n + (used < top * n ? used : top * n);
  return { id: 0n, p, n, burst, maxDebt, ticks: started, given: 0n };
}

function isOf(line: Line, limit: OracleLimit): boolean {
  const { n, p } = spacing(limit);
  const { burst, maxDebt } = limit;
  return line.n === n && line.p === p && line.burst === burst && line.maxDebt === maxDebt;
}

function advance(line: Counted, price: bigint, top: bigint, now: bigint): void {
  const from = most(line.ticks, now * line.n);
  const added = price > top * line.n ? top * line.n : price;
  const end = (now + top) * line.n;
  const to = most(from, from + added < end ? from + added : end);
  give(line, from + added - to);
  line.ticks = to;
}

/** Sets the limit's line to its new arrival time, and charges the cost to all others. */
function charge(
  state: State,
  limit: OracleLimit,
  mine: Line | undefined,
  ticks: bigint,
  cost: bigint,
  now: bigint,
): void {
  const { n, p } = spacing(limit);
  const top = topOf(limit, p, n);
  state.ticks = inTicks(state, n);
  state.given = state.n === n ? state.given : divideUp(state.given, state.n) * n;
  state.n = n;
  const { long } = state;
  if (long === undefined) {
    state.ticks = ticks;
    return;
  }
  const { lines } = long;
  for (const line of lines) {
    if (line !== mine) {
      advance(line, cost * line.p, topOf(line, line.p, line.n), now);
    }
  }
  const { given } = state;
  if (mine === undefined) {
    state.ticks = ticks;
  } else {
    advance(state, cost * p, long.top, now);
    mine.ticks = ticks;
    if (!lines.includes(mine)) {
      mine.id = lines.reduce((id, line) => most(id, line.id + 1n), now);
      keep(lines, mine);
    }
  }
  const own = lines.find((line) => isOf(line, limit));
  if (own !== undefined && long.top <= top && state.ticks <= own.ticks) {
    state.ticks = own.ticks;
    long.top = top;
    lines.splice(lines.indexOf(own), 1);
  }
  long.at = now;
  for (const line of [state, ...lines]) {
    long.rests = most(long.rests, divideUp(line.ticks, line.n));
  }
  if (state.given !== given) {
    long.epoch = long.epoch === 0n ? now : long.epoch;
    long.until = long.rests;
  }
  const knowsNothing = lines.length === 0 && (long.epoch === 0n || long.until <= now);
  if (knowsNothing && state.ticks - now * n <= top * n) {
    state.long = undefined;
    state.given = 0n;
  }
}

/** A ninth line displaces the one that rests first, but not that of the most units. */
function keep(lines: Line[], mine: Line): void {
  const units = (line: Line): bigint => line.burst + line.maxDebt;
  const whole = (line: Line): bigint => line.ticks / line.n;
  if (lines.length >= MOST_LINES) {
    const greatest = [mine, ...lines].reduce((a, b) => (units(b) > units(a) ? b : a));
    const others = lines.filter((line) => line !== greatest);
    const first = others.reduce((a, b) => (whole(b) < whole(a) ? b : a));
    lines.splice(lines.indexOf(first), 1);
  }
  lines.push(mine);
}

/** Forgets all charges, and whether anything has to be remembered: that no charge before may be refunded. */
function reset(state: State, limit: OracleLimit, now: bigint): boolean {
  const rests = state.long?.rests ?? divideUp(state.ticks, state.n);
  if (rests <= now) {
    return false;
  }
  const { n, p } = spacing(limit);
  const top = topOf(limit, p, n);
  lengthen(state, top, now);
  const long = state.long!;
  give(state, most(0n, state.ticks - now * state.n));
  state.ticks = now * state.n;
  state.long = {
    ...long,
    at: now,
    top: most(long.top, top),
    epoch: long.epoch === 0n ? now : long.epoch,
    until: long.rests,
    lines: [],
  };
  return true;
}

function fresh(): Part {
  return { text: undefined, state: undefined, changed: false, moved: false };
}

function load(part: Part, now: bigint): void {
  if (part.state === undefined) {
    part.state = part.text === undefined ? neverUsed() : parse(part.text);
    moveBack(part, now);
  }
}

/** Notes a change by a call that names these ids: they are written first. */
function dropRested(home: Home): void {
  const part = home.parts.get('=t');
  if (home.rested && part?.changed === false && typeof part.state !== 'object') {
    home.parts.delete('=t');
  }
}

function note(home: Home, ids: readonly string[], held: readonly Part[], part: Part): void {
  if (home.parts.get('=t') !== part) {
    dropRested(home);
  }
  part.changed = true;
  home.changed = true;
  const named = ids.flatMap((id, i) => {
    const known = home.parts.get(id) ?? (held[i] === part ? part : undefined);
    return known === undefined ? [] : [[id, known] as const];
  });
  home.parts = new Map([...named, ...[...home.parts].filter(([id]) => !ids.includes(id))]);
}

function neverUsed(): State {
  return { ticks: 0n, n: 1n, given: 0n, long: undefined };
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

/** `'tat'`, `'tat:rem:n'` or the long form, whole decimal numbers in [0, 2^53), `rem < n`. */
function parse(value: string): State | 'unreadable' {
  if (/^[0-9]+:v1:/.test(value)) {
    return parseLong(value);
  }
  const fields = value.split(':');
  if (![1, 3].includes(fields.length) || !fields.every(isWhole)) {
    return 'unreadable';
  }
  const [tat, rem, n] = [fields[0] ?? '', fields[1] ?? 0, fields[2] ?? 1].map(BigInt) as [
    bigint,
    bigint,
    bigint,
  ];
  return tat >= LIMIT_OF_NUMBERS || rem >= n || n > 1_000_000_000n
    ? 'unreadable'
    : { ticks: tat * n + rem, n, given: 0n, long: undefined };
}

function isWhole(field: string): boolean {
  return /^[0-9]+$/.test(field);
}

function parseLong(value: string): State | 'unreadable' {
  const [[rested = '', , ...rest] = [], ...parts] = value.split(',').map((part) => part.split(':'));
  const head = [rested, ...rest];
  if (head.length !== 10 || parts.some(({ length }) => length !== 9) || parts.length > MOST_LINES) {
    return 'unreadable';
  }
  if (![head, ...parts].flat().every(isWhole)) {
    return 'unreadable';
  }
  const [rests, at, tat, rem, n, top, epoch, given, givenRem, until] = head.map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const left = rests - at;
  const lines = parts
    .map((part) => part.map(BigInt))
    .map((part) => {
      const [id, p, of, burst, maxDebt, its, itsRem, itsGiven, itsGivenRem] = part as [
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
      ];
      const isBad =
        p < 1n ||
        of < 1n ||
        of > 1_000_000_000n ||
        itsRem >= of ||
        itsGivenRem >= of ||
        [id, itsGiven].some((number) => number >= LIMIT_OF_NUMBERS) ||
        its + (itsRem > 0n ? 1n : 0n) > left;
      const line = {
        id,
        p,
        n: of,
        burst,
        maxDebt,
        ticks: (at + its) * of + itsRem,
        given: itsGiven * of + itsGivenRem,
      };
      return isBad ? undefined : line;
    });
  const tooGreat = [rests, at + top, epoch, given].some((number) => number >= LIMIT_OF_NUMBERS);
  const isBad =
    left < 0n || n < 1n || n > 1_000_000_000n || rem >= n || givenRem >= n || until > left;
  if (tooGreat || isBad || tat + (rem > 0n ? 1n : 0n) > left || lines.includes(undefined)) {
    return 'unreadable';
  }
  return {
    ticks: (at + tat) * n + rem,
    n,
    given: given * n + givenRem,
    long: { at, rests, top, epoch, until: at + until, lines: lines as Line[] },
  };
}

/** A home is one state, or `;id` and a state for each limit, which begins with the instant at which it rests. */
function readHome(value: string | undefined, now: bigint): Home {
  const home: Home = { parts: new Map(), unreadable: false, changed: false, rested: false };
  const add = (id: string, text: string): void => {
    home.parts.set(id, { text, state: undefined, changed: false, moved: false });
  };
  if (value === undefined) {
    return home;
  }
  const plain = /^([0-9]+)[^;]*$/.exec(value)?.[1];
  if (plain !== undefined && BigInt(plain) < LIMIT_OF_NUMBERS) {
    add('=t', value);
    home.rested = BigInt(plain) < now;
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
        ? save(state)
        : { value: text ?? '', rests: BigInt(/^[0-9]*/.exec(text ?? '')?.[0] ?? 0) };
    return { id, ...saved };
  });
  const counting = written.filter(({ rests }) => rests >= now);
  if (counting.length === 0) {
    return undefined;
  }
  const latest = counting.map(({ rests }) => rests).reduce(most, now);
  const { id, value } = counting[0]!;
  return {
    value:
      counting.length === 1 && id === '=t'
        ? value
        : counting.map((part) => `;${part.id}${part.value}`).join(''),
    ttlMs: divideUp(latest - now, 1_000n) + 1n,
  };
}

function save({ ticks, n, given, long }: State): { value: string; rests: bigint } {
  const [tat, rem] = [ticks / n, ticks % n];
  if (long === undefined) {
    return {
      value: rem > 0n ? `${tat}:${rem}:${n}` : `${tat}`,
      rests: divideUp(ticks, n),
    };
  }
  const { at, rests, top, epoch, until, lines } = long;
  const head = [
    at,
    most(0n, tat - at),
    rem,
    n,
    top,
    epoch,
    given / n,
    given % n,
    most(0n, until - at),
  ];
  const parts = lines.map((line) => [
    line.id,
    line.p,
    line.n,
    line.burst,
    line.maxDebt,
    line.ticks / line.n - at,
    line.ticks % line.n,
    line.given / line.n,
    line.given % line.n,
  ]);
  return {
    value: `${rests}:v1:${[head, ...parts].map((part) => part.join(':')).join(',')}`,
    rests,
  };
}

/** Of numbers that are not negative. */
function divideUp(dividend: bigint, divisor: bigint): bigint {
  return (dividend + divisor - 1n) / divisor;
}
