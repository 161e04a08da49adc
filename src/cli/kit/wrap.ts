/** A word, or what is quoted: a part of a command line is not torn apart. */
const WORD = /(?:(?<![^\s(])'[^']*'|(?<![^\s(])`[^`]*`|\S)+/g;

/** Breaks text into lines of at most `width` characters, where it can. Lines after the first are indented. */
export function wrap(text: string, width: number, indent = 0): string {
  const lines: string[] = [];
  let line = '';
  for (const [word] of text.matchAll(WORD)) {
    if (line !== '' && line.length + 1 + word.length > width - (lines.length === 0 ? 0 : indent)) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}

/** Text beside a label of the width `indent`. */
export function beside(label: string, indent: number, text: string, width: number): string {
  const wrapped = wrap(text, width - indent).replaceAll('\n', `\n${' '.repeat(indent)}`);
  return `${label.padEnd(indent)}${wrapped}`;
}
