/** V8 copies a shorter piece of a text; a longer one keeps the whole text in memory. */
const SHORTEST_SLICE = 13;

/** A copy of a piece of a line, which does not keep the line and its neighbours in memory. */
export function ownText(text: string): string {
  return text.length < SHORTEST_SLICE ? text : Buffer.from(text).toString();
}
