/** Names become labels of metrics: beyond this many the rest are counted together. */
const MAX_NAMES = 100;
const OTHERS = 'other';

/** What `name` is counted as beside those that are known: itself, while there is room. */
export function labelOf(known: ReadonlyMap<string, unknown>, name: string): string {
  return known.has(name) || known.size < MAX_NAMES ? name : OTHERS;
}
