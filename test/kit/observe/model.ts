/** What a response says of one limit, as the documents tell it. Times are microseconds. */
export interface Word {
  readonly left: number;
  readonly lasts: number;
  readonly quota: number;
  /** Of a whole window; 0 if the next one cannot be told from this one. */
  readonly length: number;
}

/** What happened in a window, oldest first. */
type Event = readonly [what: 'said' | 'charged' | 'given back', units: number];

interface Window {
  readonly since: number;
  ends: number;
  quota: number;
  length: number;
  /** Whether no response of it has come yet. */
  isGuess: boolean;
  readonly events: Event[];
}

/** A charge as its receipt names it: by the window that was charged. */
export interface Charged {
  readonly since: number | undefined;
  readonly units: number;
}

/** What a provider says is left, by the documents: a list of what it said and of what passed since, counted through anew. */
export class QuotaModel {
  #window: Window | undefined;
  #heldUntil = 0;
  /** The end of the window after the last one in which anything happened. */
  #forgottenAt = 0;

  /** Units that may pass; Infinity where nothing is known. */
  free(now: number): number {
    this.#goOn(now);
    if (this.#heldUntil > now) {
      return 0;
    }
    return this.#window === undefined ? Infinity : this.#count().left;
  }

  /** For how long a cost that is refused has to wait. */
  waits(cost: number, now: number): number {
    this.#goOn(now);
    const window = this.#window;
    const isSpent = window !== undefined && cost > this.#count().left;
    return Math.max(this.#heldUntil, isSpent ? window.ends : 0) - now;
  }

  charge(units: number, now: number): Charged {
    this.#goOn(now);
    if (units > 0) {
      this.#note('charged', units);
    }
    return { since: this.#window?.since, units };
  }

  giveBack({ since }: Charged, units: number, now: number): void {
    this.#goOn(now);
    if (units > 0 && since !== undefined && since === this.#window?.since) {
      this.#note('given back', units);
    }
  }

  reset(): void {
    this.#window = undefined;
    this.#heldUntil = 0;
  }

  /** Returns what the word did. */
  hear({ left, lasts, quota, length }: Word, now: number): 'held' | 'late' | 'first' | 'heard' {
    this.#goOn(now);
    const ends = now + lasts;
    const window = this.#window;
    // The provider's clock is ahead by the time that its responses take.
    const isNext =
      window !== undefined &&
      window.length > 0 &&
      now > window.ends - window.length / 2 &&
      ends > window.ends + window.length / 2 &&
      ends < window.ends + window.length * 1.5;
    const isLate =
      window !== undefined &&
      window.length > 0 &&
      Math.abs(ends - window.since) < Math.abs(window.ends - ends) &&
      ends < window.ends;
    if (left === 0 && (length === 0 || isLate)) {
      this.#heldUntil = Math.max(this.#heldUntil, ends);
      this.#touch();
      return 'held';
    }
    if (isLate) {
      return 'late';
    }
    if (window === undefined || isNext) {
      this.#window = {
        since: now,
        ends,
        quota,
        length: length === 0 ? 0 : Math.max(length, window?.length ?? 0),
        isGuess: false,
        events: [['said', left]],
      };
      this.#touch();
      return 'first';
    }
    const before = this.#count();
    const isWord =
      window.isGuess || left < before.left || (left === before.left && ends > window.ends);
    if (isWord) {
      window.ends = ends;
      window.quota = quota;
      window.length = length === 0 ? 0 : Math.max(length, window.length);
      window.isGuess = false;
    }
    if (isWord || left < before.most) {
      this.#note('said', left);
    }
    return 'heard';
  }

  /** What is left, and the most that can be once all is given back. */
  #count(): { left: number; most: number } {
    let left = Infinity;
    let most = Infinity;
    for (const [what, units] of this.#window!.events) {
      if (what === 'said') {
        most = Math.min(most, units);
        left = Math.min(left, units);
      } else {
        left = what === 'charged' ? Math.max(0, left - units) : Math.min(most, left + units);
      }
    }
    return { left, most };
  }

  #note(what: Event[0], units: number): void {
    if (this.#window !== undefined) {
      this.#window.events.push([what, units]);
      this.#touch();
    }
  }

  /** Something happened: this window counts, and the next one. */
  #touch(): void {
    this.#forgottenAt = this.#window === undefined ? 0 : this.#window.ends + this.#window.length;
  }

  #goOn(now: number): void {
    if (this.#heldUntil <= now && this.#forgottenAt <= now) {
      this.#window = undefined;
    }
    while (this.#window !== undefined && this.#window.ends <= now) {
      const { ends: since, quota, length } = this.#window;
      this.#window =
        length === 0
          ? undefined
          : {
              since,
              ends: since + length,
              quota,
              length,
              isGuess: true,
              events: [['said', quota]],
            };
    }
  }
}
