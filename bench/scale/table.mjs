// @ts-check

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(head, rows) {
  const rule = `|${head.map((_, i) => (i === 0 ? '---' : '--:')).join('|')}|`;
  const [first, ...others] = [head, ...rows].map((row) => `| ${row.join(' | ')} |`);
  return [first, rule, ...others].join('\n');
}

/** @param {number} us */
export function ms(us) {
  return us < 99_500 ? `${(us / 1_000).toPrecision(2)} ms` : `${(us / 1_000).toFixed(0)} ms`;
}

/** @param {number} number */
export function whole(number) {
  return Math.round(number).toLocaleString('en-US');
}
