/** A ban's numbers, as a limit takes them: times in milliseconds, growth as a number. */
export interface BanRule {
  readonly after: number;
  readonly within: number;
  readonly for: number;
  readonly growth: number;
  readonly max: number;
}

interface Ban {
  readonly ms: number;
  readonly ends: number;
  /** Until when the next ban is longer. */
  readonly kept: number;
}

/** What one limit remembers of one home: instants are microseconds. */
interface Counted {
  refusals: number[];
  last: Ban | undefined;
}

/** Bans by the documents: every refusal is kept, and looked through at each. */
export class BansModel {
  /** By home: until when it is blocked. */
  readonly #blocks = new Map<string, number>();
  readonly #counted = new Map<string, Counted>();

  isBlocked(homes: readonly string[], now: number): boolean {
    return homes.some((home) => (this.#blocks.get(home) ?? 0) > now);
  }

  block(home: string, ends: number): void {
    this.#blocks.set(home, ends);
  }

  /** Forgets the count and the growth of one limit. */
  reset(home: string, limit: string): void {
    this.#counted.delete(`${home} ${limit}`);
  }

  /** Counts a refusal. Returns the milliseconds of the ban that it starts; 0 for none. */
  refuse(home: string, limit: string, rule: BanRule, shadow: boolean, now: number): number {
    const id = `${home} ${limit}`;
    const counted = this.#counted.get(id) ?? { refusals: [], last: undefined };
    this.#counted.set(id, counted);
    const { last } = counted;
    if (shadow && last !== undefined && now < last.ends) {
      return 0;
    }
    counted.refusals.push(now);
    const recent = counted.refusals.filter((at) => at > now - rule.within * 1_000);
    if (recent.length < rule.after) {
      return 0;
    }
    const hundredths = BigInt(Math.round(rule.growth * 100));
    const grown =
      last === undefined || last.kept <= now
        ? 0
        : Number((BigInt(last.ms) * hundredths + 99n) / 100n);
    const ms = Math.min(Math.max(rule.for, grown), rule.max);
    const ends = now + ms * 1_000;
    counted.last = { ms, ends, kept: ends + (ms + rule.within) * 1_000 };
    counted.refusals = [];
    if (!shadow) {
      this.#blocks.set(home, Math.max(this.#blocks.get(home) ?? 0, ends));
    }
    return ms;
  }
}
