import type { Call } from '../stores/store.ts';

/** The end of a call that may have given something back. */
interface Ended {
  readonly turn: number;
  /** The instant of the process's clock from which on calls on the key teach again. */
  readonly quietUntil: number;
  readonly at: number;
}

/** Ends that are remembered at once; of older ones only the last turn is. */
const MAX_ENDED = 10_000;

/**
 * Knows on which keys calls of this process may give something back. A *turn* numbers what happens on a connection, in
 * order. Replies to calls made before such a call has ended say nothing that holds.
 */
export class GivenBack {
  /** Key -> number of such calls that are unanswered. */
  readonly #pending = new Map<string, number>();
  /** Key -> the last end, in the order of ends. */
  readonly #ended = new Map<string, Ended>();
  #turn = 0;
  /** Nothing from this turn or before it holds, on any key. */
  #floor = 0;
  #quietUntil: number;

  /** `quietUntil`: the instant of the process's clock before which nothing holds, because of calls from before. */
  constructor(quietUntil: number) {
    this.#quietUntil = quietUntil;
  }

  nextTurn(): number {
    this.#turn += 1;
    return this.#turn;
  }

  began(call: Call): void {
    for (const key of homesOf(call)) {
      this.#pending.set(key, (this.#pending.get(key) ?? 0) + 1);
    }
  }

  /** `holdUs`: for how long nothing is to be learnt if the call failed, because it may still run. */
  ended(call: Call, failed: boolean, own: number, holdUs: number): void {
    const end = { turn: this.nextTurn(), quietUntil: failed ? own + holdUs : 0, at: own };
    for (const key of homesOf(call)) {
      const left = this.#pending.get(key)! - 1;
      if (left > 0) {
        this.#pending.set(key, left);
      } else {
        this.#pending.delete(key);
      }
      const quietUntil = Math.max(end.quietUntil, this.#ended.get(key)?.quietUntil ?? 0);
      this.#ended.delete(key);
      this.#ended.set(key, { ...end, quietUntil });
    }
    this.#forget(own, holdUs);
  }

  /** Whether what a call of this turn was answered still holds, as far as calls of this process on its keys go. */
  holds(call: Pick<Call, 'key' | 'homes'>, turn: number, own: number): boolean {
    if (turn <= this.#floor || own < this.#quietUntil) {
      return false;
    }
    if (this.#pending.size === 0 && this.#ended.size === 0) {
      return true;
    }
    return homesOf(call).every((key) => {
      const end = this.#ended.get(key);
      return (
        !this.#pending.has(key) && (end === undefined || (turn > end.turn && own >= end.quietUntil))
      );
    });
  }

  /** Forgets ends once no older reply can be in use. */
  #forget(own: number, holdUs: number): void {
    for (const [key, { turn, quietUntil, at }] of this.#ended) {
      const isOver = own - at >= holdUs && own >= quietUntil;
      if (!isOver && this.#ended.size <= MAX_ENDED) {
        return;
      }
      this.#ended.delete(key);
      this.#floor = Math.max(this.#floor, turn);
      this.#quietUntil = Math.max(this.#quietUntil, quietUntil);
    }
  }
}

function homesOf({ key, homes }: Pick<Call, 'key' | 'homes'>): readonly string[] {
  return homes ?? [key];
}
