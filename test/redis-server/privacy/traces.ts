/** A text in the forms in which a program may let it slip: as it is, in hexadecimal digits, in base64. */
function formsOf(text: string): string[] {
  const hex = Buffer.from(text).toString('hex');
  const base64 = [0, 1, 2].map((before) => {
    // What stands before it shifts it by one or two bytes; the groups that it does not fill alone are left out.
    const encoded = Buffer.from('x'.repeat(before) + text).toString('base64');
    return encoded.slice(
      before === 0 ? 0 : 4,
      4 * Math.floor((before + Buffer.byteLength(text)) / 3),
    );
  });
  return [text, hex, hex.replace(/..(?=.)/g, '$& '), ...base64];
}

/** Looks for private texts in everything that it is shown, and keeps what it found. */
export class Search {
  /** Where one was found: which, in what, and the text around it. */
  readonly traces: string[] = [];
  /** How many texts it was shown, by what they were. */
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
