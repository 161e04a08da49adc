import { FIRST_INEXACT } from '../algorithms/limit.ts';
import type { Algorithm, Encoded, State } from '../algorithms/limit.ts';
import { UNNAMED_BUCKET } from './call-shape.ts';

/** Most states of one home that still count. */
const MAX_STATES = 32;
/** Most states of a home that remembers resets: a call under 16 more limits still finds room. */
const MAX_REMEMBERING = 16;

export const UNREADABLE = 'UNREADABLE The stored value is not a state that this library writes';
const CROWDED = 'CROWDED The identity has 32 states that still count, and no room for another';

/** Whether a failed entry's message says that the home has no room. */
export function isCrowded(message: string): boolean {
  return message.startsWith('CROWDED');
}

const PART = /;([\w.-]*=[a-z])((\d+)[^;]*)/y;
const PLAIN = /^(\d+)[^;]*$/;

type Twin = Pick<Algorithm, 'load' | 'encode'>;

/**
 * The home of an identity: one value that holds the states of all its limits whose states are strings. The value is the
 * state itself while the unnamed token bucket's is the only one; else `;id` and the state, for each of them. A state's
 * text begins with the instant from which on it no longer counts, so a home keeps, and later drops, states of limits
 * that no call names. Twin of home.lua.
 */
export class Home {
  /** Why no state can be read. */
  failure: string | undefined;
  /** The ids that the last change named. They are written first, in its order: there home-path.lua looks for them. */
  #front: readonly string[] = [];
  /** Whether the only text is the unnamed token bucket's, and no longer counts. */
  #rested = false;
  /** By id, in order: the text as stored; undefined for a state that has changed. */
  #texts = new Map<string, string | undefined>();
  readonly #loaded = new Map<string, { state: State | undefined; twin: Twin }>();

  constructor(value: unknown, now: number) {
    if (value === undefined) {
      return;
    }
    if (typeof value !== 'string' || value === '') {
      this.failure = UNREADABLE;
      return;
    }
    const rests = Number(PLAIN.exec(value)?.[1]);
    if (rests < FIRST_INEXACT) {
      this.#texts.set(UNNAMED_BUCKET, value);
      this.#rested = rests < now;
    } else {
      this.#read(value, now);
    }
  }

  #read(value: string, now: number): void {
    PART.lastIndex = 0;
    while (PART.lastIndex < value.length) {
      const [, id = '', text = '', digits] = PART.exec(value) ?? [];
      const rests = Number(digits ?? FIRST_INEXACT);
      if (rests >= FIRST_INEXACT || this.#texts.has(id)) {
        this.failure = UNREADABLE;
        this.#texts.clear();
        return;
      }
      if (rests >= now) {
        this.#texts.set(id, text);
      }
    }
  }

  /** Why the home has no room for the states under these ids; undefined if it has. */
  crowded(ids: readonly string[]): string | undefined {
    const fresh = ids.filter((id) => !this.#texts.has(id)).length;
    return this.#texts.size + fresh > MAX_STATES ? CROWDED : undefined;
  }

  /** Whether a reset may leave behind what makes older receipts worthless. */
  get remembersResets(): boolean {
    return this.failure === undefined && this.#texts.size <= MAX_REMEMBERING;
  }

  /** The state under this id, a fresh one for none; undefined if it cannot be read. */
  state(id: string, twin: Twin, now: number): State | undefined {
    let known = this.#loaded.get(id);
    if (known === undefined) {
      known = { state: twin.load(this.#texts.get(id), now), twin };
      this.#loaded.set(id, known);
    }
    return known.state;
  }

  /** Notes that the state under this id has changed, in a call that named these. */
  note(id: string, named: readonly string[]): void {
    this.#dropRested(id);
    if (this.#front !== named) {
      if (this.#front.length > 0) {
        this.#texts = new Map(this.#order().map((each) => [each, this.#texts.get(each)]));
      }
      this.#front = named;
    }
    this.#texts.set(id, undefined);
  }

  /** A write for another id drops the unnamed bucket's text that no longer counts, be it unreadable. */
  #dropRested(id: string): void {
    if (this.#rested && id !== UNNAMED_BUCKET) {
      this.#rested = false;
      const isChanged = this.#texts.get(UNNAMED_BUCKET) === undefined;
      if (!isChanged && this.#loaded.get(UNNAMED_BUCKET)?.state === undefined) {
        this.#texts.delete(UNNAMED_BUCKET);
        this.#loaded.delete(UNNAMED_BUCKET);
      }
    }
  }

  /** The ids in the order in which they are written. */
  #order(): readonly string[] {
    return [
      ...this.#front.filter((id) => this.#texts.has(id)),
      ...[...this.#texts.keys()].filter((id) => !this.#front.includes(id)),
    ];
  }

  /** Forgets the state under this id; all of them if the value cannot be read. */
  erase(id: string): void {
    this.#dropRested(id);
    this.failure = undefined;
    this.#texts.delete(id);
    this.#loaded.delete(id);
  }

  /** The value after all changes; undefined if nothing is left of it. */
  encode(now: number): Encoded | undefined {
    const parts: string[] = [];
    let rests = now;
    let only: unknown;
    for (const id of this.#order()) {
      const encoded = this.#encoded(id, now);
      if (encoded !== undefined && encoded.rests >= now) {
        parts.push(`;${id}${encoded.value as string}`);
        rests = Math.max(rests, encoded.rests);
        only = id === UNNAMED_BUCKET ? encoded.value : undefined;
      }
    }
    if (parts.length === 0) {
      return undefined;
    }
    return { value: parts.length === 1 && only !== undefined ? only : parts.join(''), rests };
  }

  #encoded(id: string, now: number): Encoded | undefined {
    const text = this.#texts.get(id);
    if (text !== undefined) {
      return { value: text, rests: Number(/^\d+/.exec(text)) };
    }
    const { state, twin } = this.#loaded.get(id)!;
    return twin.encode(state!, now);
  }
}
