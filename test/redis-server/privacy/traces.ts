/** A text in the forms in which a program may leak it: plain, hexadecimal, base64. */
function formsOf(text: string): string[] {
  const hex = Buffer.from(text).toString('hex');
  const base64 = [0, 1, 2].map((before) => {
    // Preceding text shifts base64 by one or two bytes; groups that the text fills only partly are left out.
    const encoded = Buffer.from('x'.repeat(before) + text).toString('base64');
    return encoded.slice(
      before === 0 ? 0 : 4,
      4 * Math.floor((before + Buffer.byteLength(text)) / 3),
    );
  });
  return [text, hex, hex.replace(/..(?=.)/g, '$& '), ...base64];
}

/** Searches every text that it gets for private texts, and records matches. */
export class Search {
  /** Matches: the private text, its source, and the surrounding text. */
  readonly traces: string[] = [];
  /** How many texts were searched, by source. */
  readonly looked: Record<string, number> = {};
  readonly #forms: { name: string; forms: string[] }[];

  constructor(privateTexts: Readonly<Record<string, string>>) {
    this.#forms = Object.entries(privateTexts).map(([name, text]) => ({
      name,
      forms: formsOf(text),
    }));
  }

  look(what: string, text: string): void {
    this.looked[what] = (this.looked[what] ?? 0) + 1;
    for (const { name, forms } of this.#forms) {
      for (const form of forms) {
        const at = text.indexOf(form);
        if (at !== -1) {
          this.traces.push(
            `${name} in ${what}: …${text.slice(Math.max(0, at - 100), at + form.length + 100)}…`,
          );
          break;
        }
      }
    }
  }
}
