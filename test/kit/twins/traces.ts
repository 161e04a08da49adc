import { recovery, spacingOf } from '../../../src/algorithms/recovery.ts';
import type { Random } from '../random.mjs';
import type { Ask, Governed, Spec } from './asks.ts';

const SECOND = 1_000_000;
const HOUR = 3_600 * SECOND;
const DAY_MS = 86_400_000;
const TEN_YEARS_US = 10 * 366 * DAY_MS * 1_000;
/** In the year 2223; arrival times from here on still lie below 2^53. */
const LATEST = 8e15;

/** Numbers at which rate limiters are known to go wrong: rates that do not divide, more than one unit per µs, … */
const NOTABLE: readonly Spec[] = [
  { rate: 7, periodMs: 60_000, burst: 7, maxDebt: 0 },
  { rate: 7, periodMs: 60_000, burst: 1, maxDebt: 3 },
  { rate: 700_000, periodMs: 1_000, burst: 50, maxDebt: 0 },
  { rate: 3_000_000, periodMs: 1_000, burst: 3_000_000, maxDebt: 0 },
  { rate: 999_983, periodMs: 1_000, burst: 20, maxDebt: 0 },
  { rate: 1, periodMs: 30 * DAY_MS, burst: 3, maxDebt: 0 },
  { rate: 1_000, periodMs: 3_600_000, burst: 1_000, maxDebt: 0 },
  { rate: 10, periodMs: 1_000, burst: 10, maxDebt: 0 },
  { rate: 10, periodMs: 1_000, burst: 10, maxDebt: 25 },
  { rate: 100, periodMs: 60_000, burst: 20, maxDebt: 0 },
  { rate: 5, periodMs: 10_000, burst: 1, maxDebt: 0 },
  { rate: 1_000_000_000, periodMs: 1, burst: 1_000_000_000, maxDebt: 0 },
  { rate: 999_999_937, periodMs: 366 * DAY_MS, burst: 9_007_198, maxDebt: 0 },
  { rate: 1, periodMs: 366 * DAY_MS, burst: 10, maxDebt: 0 },
];

function randomSpec(random: Random): Spec {
  if (random.chance(40)) {
    return random.pick(NOTABLE);
  }
  for (;;) {
    const rate = random.magnitude(1, random.pick([100, 10_000, 1_000_000_000]));
    const periodMs = random.chance(50)
      ? random.pick([1, 10, 1_000, 60_000, 3_600_000, DAY_MS])
      : random.magnitude(1, 366 * DAY_MS);
    const { p, n } = spacingOf(rate, periodMs * 1_000);
    const most = Math.floor(Math.min(2 ** 53 / n - 2, (TEN_YEARS_US / p) * n, 1_000_000_000));
    if (most >= 1) {
      const burst = random.magnitude(1, random.chance(70) ? Math.min(most, 60) : most);
      const maxDebt = random.chance(20) ? random.int(0, Math.min(most - burst, 3 * burst)) : 0;
      return { rate, periodMs, burst, maxDebt };
    }
  }
}

/** What happens at one instant: states put under keys from outside, then calls. */
export interface Turn {
  readonly now: number;
  readonly put: ReadonlyMap<string, string>;
  readonly asks: readonly Ask[];
}

/** What a trace needs to know of what came of it so far. */
export interface Past {
  /** What keys hold. */
  readonly stored: ReadonlyMap<string, string>;
  /** A call that was refused in the last turn, and the instant at which it was told to come again. */
  readonly refused: { readonly ask: Ask; readonly retryAt: number } | undefined;
}

/** A random course of events around one to twelve identities and one to four limits, each in up to three forms. */
export class Trace {
  readonly #random: Random;
  readonly #name: string;
  readonly #stepsBack: boolean;
  readonly #identities: readonly string[];
  readonly #forms: readonly (readonly Governed[])[];
  #now: number;
  #fresh = 0;
  readonly #seen = new Set<number>();

  /**
   * @param name begins every key
   * @param stepsBack whether the clock may, and whether states are put from outside that no limit here would leave
   */
  constructor(random: Random, name: string, stepsBack: boolean) {
    this.#random = random;
    this.#name = name;
    this.#stepsBack = stepsBack;
    this.#identities = Array.from({ length: random.int(1, 12) }, (_, i) => `${name}:${i}`);
    const ids = ['=t', 'a=t', 'b.c=t', 'c-d=t'];
    this.#forms = ids.slice(0, random.pick([1, 1, 2, 3, 4])).map((id) =>
      Array.from({ length: random.pick([1, 1, 2, 3]) }, () => ({
        id,
        spec: randomSpec(random),
      })),
    );
    this.#now = random.pick([
      0,
      5,
      1_767_225_600 * SECOND,
      1_800_000_000 * SECOND + 1,
      LATEST - 9e14,
    ]);
  }

  next(past: Past): Turn {
    const random = this.#random;
    const edge = this.#edge(past);
    this.#now = edge === undefined ? this.#move() : edge.at;
    if (this.#now > LATEST || this.#now < 0) {
      this.#now = this.#stepsBack ? 1_767_225_600 * SECOND : LATEST;
    }
    const put = this.#stepsBack && random.chance(10) ? this.#states() : new Map<string, string>();
    const asks = edge === undefined ? [] : [edge.ask];
    const size = random.pick([
      random.int(1, 2),
      random.int(2, 6),
      random.int(6, 40),
      random.int(40, 160),
    ]);
    this.#seen.clear();
    const common = asks[0] ?? { ...this.#one(), verb: 'allow', by: [this.#form()] };
    if (random.chance(40) && common.verb === 'allow' && common.by.length === 1) {
      return { now: this.#now, put, asks: this.#alike(common, size) };
    }
    const apart = random.chance(40);
    while (asks.length < size) {
      asks.push(...this.#some(size - asks.length, apart));
    }
    return { now: this.#now, put, asks };
  }

  #form(): Governed {
    return this.#random.pick(this.#random.pick(this.#forms));
  }

  /** Where the clock stands next. */
  #move(): number {
    const random = this.#random;
    const { spec } = this.#form();
    const spacing = spacingOf(spec.rate, spec.periodMs * 1_000);
    const unit = Math.ceil(recovery(1, spacing).int);
    const whole = recovery(spec.burst, spacing).int;
    const ahead = [
      0,
      0,
      1,
      random.int(0, 2_000),
      unit,
      unit + 1,
      random.int(0, 3 * unit),
      random.int(0, whole),
      whole,
      2 * whole,
      random.int(0, 10 * SECOND),
      HOUR,
    ];
    if (!this.#stepsBack || random.chance(55)) {
      return this.#now + random.pick(ahead);
    }
    const back = [
      1,
      random.int(0, SECOND),
      SECOND,
      SECOND + 1,
      random.int(0, 3 * whole),
      random.int(0, 3 * SECOND),
      random.int(0, 5 * HOUR),
      HOUR,
    ];
    return this.#now - random.pick(back);
  }

  /** A call at the very instant, or 1 µs off it, at which its answer turns; or none, to let things happen. */
  #edge({ stored, refused }: Past): { at: number; ask: Ask } | undefined {
    const random = this.#random;
    if (refused !== undefined && random.chance(40)) {
      return { at: refused.retryAt - random.int(0, 1), ask: refused.ask };
    }
    if (!this.#stepsBack || stored.size === 0 || random.chance(50)) {
      return undefined;
    }
    const [key, value] = random.pick([...stored]);
    const parts = value.startsWith(';') ? value.slice(1).split(';') : [`=t${value}`];
    const [, id = '', text = ''] = /^([^=]*=t)(.*)$/.exec(random.pick(parts)) ?? [];
    const forms = this.#forms.find(([form]) => form?.id === id);
    if (forms === undefined) {
      return undefined;
    }
    const governed = random.pick(forms);
    const [rests = 0, , since = 0, ahead = 0] = text.split(':').map(Number);
    const tat = text.includes(':v1:') ? since + ahead : rests;
    const { rate, periodMs, burst, maxDebt } = governed.spec;
    const ceiling = recovery(burst + maxDebt, spacingOf(rate, periodMs * 1_000)).int;
    const at = random.pick([tat, tat - ceiling, tat - ceiling - SECOND, rests]);
    return {
      at: (Number.isSafeInteger(at) ? at : this.#now) + random.int(-1, 1),
      ask: { verb: random.pick(['allow', 'peek']), key, cost: 1, by: [governed] },
    };
  }

  /** States of every form, most of them readable, put as if by another version or another limit. */
  #states(): Map<string, string> {
    const random = this.#random;
    const states = new Map<string, string>();
    for (let i = random.int(1, 4); i > 0; i--) {
      const key = random.pick(this.#identities);
      const tat = Math.max(
        0,
        this.#now + random.int(-2 * SECOND, random.pick([SECOND, 20 * SECOND, 9 * HOUR])),
      );
      const n = random.pick([1, 2, 7, 9, 999_983]);
      const until = Math.max(0, this.#now + random.int(-2 * SECOND, 5 * SECOND));
      const text = (): string =>
        random.pick([
          `${tat}`,
          `${tat}:${random.int(0, n - 1)}:${n}`,
          `${Math.max(tat, until)}:${random.int(0, n - 1)}:${n}:${tat}:${until}`,
          this.#longState(n),
          this.#longState(n),
          `${tat}:${n}:${n}`,
          `${tat}:0`,
          '9007199254740991',
        ]);
      const several = this.#forms.map(([form]) => `;${form!.id}${text()}`);
      states.set(
        key,
        random.pick([
          text(),
          several.join(''),
          several.toReversed().join(''),
          `${several[0]!};other=t${this.#now + SECOND}`,
          `${several[0]!}${several[0]!}`,
          `${several[0]!};`,
          '9007199254740992',
          ';=t9007199254740992',
          `-${tat}`,
          '',
        ]),
      );
    }
    // An empty text stands for a deletion, as by an eviction.
    return states;
  }

  /** A state of several lines, seldom one that cannot be read. */
  #longState(n: number): string {
    const random = this.#random;
    const at = Math.max(0, this.#now + random.int(-20 * SECOND, 2 * SECOND));
    const left = random.int(1, random.pick([SECOND, 20 * SECOND, 9 * HOUR]));
    const within = (): number => random.int(0, left - 1);
    const given = random.chance(50) ? 0 : random.magnitude(1, 1e15);
    const epoch = given === 0 ? 0 : at;
    const head = [at, within(), random.int(0, n - 1), n, random.int(0, HOUR), epoch];
    const lines = Array.from({ length: random.int(0, 9) }, (_, i) => {
      const { spec } = this.#form();
      const own = spacingOf(spec.rate, spec.periodMs * 1_000);
      const label = [own.p, own.n, spec.burst, spec.maxDebt];
      return [at + i, ...label, within(), random.int(0, own.n - 1), given, 0];
    });
    const parts = [[...head, given, 0, random.int(0, left)], ...lines];
    return `${at + left}:v1:${parts.map((each) => each.join(':')).join(',')}`;
  }

  /** What most batches in production are: one call, for identities that differ, each as many times. */
  #alike(ask: Ask, size: number): Ask[] {
    const random = this.#random;
    const [{ spec }] = ask.by as [Governed];
    const times = random.pick([1, 1, 1, 2, 5]);
    const cost = random.chance(80) ? Math.min(ask.cost, spec.burst) : random.int(1, spec.burst);
    const keys = new Set([ask.key]);
    while (keys.size * times < size) {
      keys.add(random.chance(30) ? random.pick(this.#identities) : this.#anotherIdentity());
    }
    return [...keys].flatMap((key) => {
      const one = { ...ask, cost, key };
      return Array.from({ length: times }, () => one);
    });
  }

  /** About `most` asks that belong together: one, one again and again, or one of many identities. */
  #some(most: number, apart: boolean): Ask[] {
    const random = this.#random;
    const ask = this.#one();
    if (apart || random.chance(15)) {
      const times = random.pick([1, 1, 1, 2]);
      return Array.from({ length: random.int(1, Math.min(most, 30)) }, () => {
        const another = { ...ask, key: this.#anotherIdentity() };
        return Array.from({ length: times }, () => another);
      }).flat();
    }
    const times = random.pick([1, 1, 1, 2, 3, 12]);
    return Array<Ask>(Math.min(most, times)).fill(ask);
  }

  #one(): Ask {
    const random = this.#random;
    const by: Governed[] = [];
    for (const forms of this.#forms) {
      if (by.length === 0 || random.chance(50)) {
        by.push(random.pick(forms));
      }
    }
    // The first limit has a chance to be absent as well.
    if (by.length > 1 && random.chance(30)) {
      by.shift();
    }
    const least = Math.min(...by.map(({ spec }) => spec.burst));
    const cost = random.pick([1, 1, 1, Math.min(2, least), random.int(1, least), least]);
    const verb = random.chance(80) ? 'allow' : random.chance(80) ? 'peek' : 'reset';
    return { verb, key: random.pick(this.#identities), cost, by };
  }

  /** One that has no part in this turn yet: often it is new, else from an earlier turn. */
  #anotherIdentity(): string {
    let number = this.#random.int(1, 2 * this.#fresh + 1);
    if (number > this.#fresh || this.#seen.has(number)) {
      this.#fresh += 1;
      number = this.#fresh;
    }
    this.#seen.add(number);
    return `${this.#name}:f${number}`;
  }
}
