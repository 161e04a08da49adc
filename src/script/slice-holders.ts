import { LONGEST_SLICE_US } from '../algorithms/limit.ts';
import type { Encoded, State } from '../algorithms/limit.ts';

/** Most processes of one list. Beyond it the one whose slice ends first is left out, and shares grow a little. */
const MAX_HOLDERS = 64;

const LIST = /^[\w-]{1,32}:\d{1,16}(?:,[\w-]{1,32}:\d{1,16})*$/;

/**
 * The processes that hold slices of one identity: the share of each is a part of what is left. Kept as `id:ends`, joined
 * by `,`, with the instant at which the process's last slice ends.
 */
export interface HoldersState extends State {
  holders: readonly (readonly [id: string, ends: number])[];
}

export const holdersTwin: {
  load(value: unknown, now: number): HoldersState | undefined;
  encode(state: HoldersState): Encoded;
} = {
  load(value, now) {
    if (value === undefined) {
      return { holders: [], changed: false };
    }
    if (typeof value !== 'string' || !LIST.test(value)) {
      return undefined;
    }
    const all = value.split(',').map((part) => {
      const at = part.indexOf(':');
      return [part.slice(0, at), Number(part.slice(at + 1))] as const;
    });
    // A slice that ends later than any can was given before the clock stepped back.
    const holders = all.filter(([, ends]) => ends > now && ends <= now + LONGEST_SLICE_US);
    return { holders, changed: false };
  },

  encode: ({ holders }) => ({
    value: holders.map(([id, ends]) => `${id}:${ends}`).join(','),
    rests: Math.max(...holders.map(([, ends]) => ends)),
  }),
};

/** How many processes hold slices, with this one. */
export function countHolders({ holders }: HoldersState, process: string): number {
  return holders.filter(([id]) => id !== process).length + 1;
}

/** Notes that a process holds a slice. */
export function noteHolder(state: HoldersState, process: string, ends: number): void {
  const mine = state.holders.find(([id]) => id === process);
  const others = state.holders.filter(([id]) => id !== process);
  if (others.length >= MAX_HOLDERS) {
    let first = 0;
    others.forEach(([, its], i) => {
      first = its < others[first]![1] ? i : first;
    });
    others.splice(first, 1);
  }
  state.holders = [...others, [process, Math.max(mine?.[1] ?? 0, ends)]];
  state.changed = true;
}
