/**
 * Splits a line at its spaces. `"…"` is one column, without its quotes; a backslash escapes a quote. So is `[…]` where
 * it is the column of this index. Undefined if a mark is not closed.
 */
export function columnsOf(line: string, bracketed: number): readonly string[] | undefined {
  const columns: string[] = [];
  let at = 0;
  while (at < line.length) {
    const first = line[at];
    if (first === ' ') {
      at += 1;
      continue;
    }
    if (first === '"' || (first === '[' && columns.length === bracketed)) {
      const close = first === '"' ? closingQuote(line, at + 1) : line.indexOf(']', at);
      if (close < 0) {
        return undefined;
      }
      columns.push(line.slice(at + 1, close));
      at = close + 1;
    } else {
      const space = line.indexOf(' ', at);
      const end = space < 0 ? line.length : space;
      columns.push(line.slice(at, end));
      at = end;
    }
  }
  return columns;
}

/** The index of the quote that closes a text; -1 if none does. */
export function closingQuote(line: string, from: number): number {
  let at = line.indexOf('"', from);
  while (at > 0 && isEscaped(line, at, from)) {
    at = line.indexOf('"', at + 1);
  }
  return at;
}

function isEscaped(line: string, quote: number, from: number): boolean {
  let at = quote - 1;
  while (at >= from && line[at] === '\\') {
    at -= 1;
  }
  return (quote - 1 - at) % 2 === 1;
}
